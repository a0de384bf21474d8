"""Colours, markers, sizes and axes of pictures, and writing them to files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fastbcd.errors import InputError
from fastbcd.files.atomic import user_path, write_atomically
from fastbcd.support.floating_point import own_errstate
from fastbcd.support.forks import ForkSafeLock

# Okabe and Ito's colours, which differ for every kind of colour blindness, without the yellow,
# which is too light on white. Eight markers and seven colours make 56 different pairs.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#555555"
# Most markers on a line.
MARKS = 12
DPI = 140
FORMS = (".png", ".svg")
STYLE: dict[str, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.facecolor": "white",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "legend.frameon": False,
    "svg.hashsalt": "fastbcd",
}

_ONE_AT_A_TIME = ForkSafeLock()


@contextmanager
def style() -> Iterator[None]:
    """Apply our settings of matplotlib within the context, in one thread at a time.

    matplotlib keeps one set of settings per process. If two threads changed them at once, the
    thread that leaves last would restore the settings of the other one.

    Raises
    ------
    InputError
        matplotlib is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise InputError(
            "pictures need matplotlib: pip install 'fastbcd[plot]', or pip install matplotlib"
        ) from None
    with _ONE_AT_A_TIME, matplotlib.rc_context(STYLE):
        yield


def new_figure(width: float = 6.0, height: float = 4.0) -> Any:
    """A white figure that belongs to no window, for a file.

    Parameters
    ----------
    width, height : float
        Size in inches.
    """
    with style():
        from matplotlib.figure import Figure

        return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def axes_or_new(ax: Any, width: float = 6.0, height: float = 4.0) -> Any:
    """`ax`, or new Axes in a figure of pyplot, which a notebook shows."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.figure(figsize=(width, height), layout="constrained").add_subplot()


def colour(k: int) -> str:
    """The colour of the k-th run."""
    return COLOURS[k % len(COLOURS)]


def line_style(k: int, n_runs: int, n_points: int = 1) -> dict[str, Any]:
    """Colour and marker of the k-th run, with the markers spread over its points.

    A single run has markers only if it has few points.
    """
    every = -(-n_points // MARKS)
    if n_runs == 1 and every > 1:
        return {"color": colour(k)}
    # Markers of each run begin elsewhere, so that they stay visible if lines cover each other.
    return {
        "color": colour(k),
        "marker": MARKERS[k % len(MARKERS)],
        "markevery": (k % max(every, 1), max(every, 1)),
    }


def run_id(column: str, k: int) -> str:
    """The id, in an SVG, of what shows `column` of the k-th run."""
    return f"{column}-run-{k}"


def finish(ax: Any, title: str, y: str, x: str = "iteration") -> None:
    """Add title, labels, and a light grid behind the lines."""
    ax.set_title(title, loc="left")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)


def whole_iterations(ax: Any) -> None:
    """Put the ticks of x at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))


def logarithmic(ax: Any, axis: str, values: Sequence[Any]) -> None:
    """Make an axis logarithmic for all `values` (arrays), with plain numbers at its ticks.

    The label of the axis says so. If some values are not positive, the axis is linear below the
    smallest positive one. It stays linear if there is only one value, or none above 0.
    """
    from matplotlib.ticker import (
        FuncFormatter,
        LogLocator,
        MaxNLocator,
        NullFormatter,
        NullLocator,
    )

    numbers = np.unique(np.concatenate([np.ravel(array) for array in values]))
    positive = numbers[numbers > 0.0]
    if len(positive) == 0 or len(numbers) == 1:
        return
    which = getattr(ax, f"{axis}axis")
    set_scale, label = getattr(ax, f"set_{axis}scale"), which.get_label_text()
    if len(positive) < len(numbers):
        set_scale("symlog", linthresh=float(positive[0]))
        which.set_label_text(f"{label} (log scale, linear around 0)")
        return
    set_scale("log")
    which.set_label_text(f"{label} (log scale)")
    decades = np.log10(positive[-1] / positive[0])
    if decades < 0.7:  # the range is too short for powers of ten
        which.set_major_locator(MaxNLocator(nbins=5))
        which.set_minor_locator(NullLocator())
    else:
        which.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)))
    which.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    which.set_minor_formatter(NullFormatter())


def run_legend(ax: Any, n_runs: int, legend: bool) -> None:
    """Name the runs in a legend, if there are several."""
    if legend and n_runs > 1:
        ax.legend()


def picture_form(path: Path) -> str:
    """``"png"`` or ``"svg"``, by the ending of `path`; `InputError` for any other ending."""
    if path.suffix.lower() not in FORMS:
        raise InputError(f"{path} must end in {' or '.join(FORMS)}")
    return path.suffix.lower().removeprefix(".")


@own_errstate
def save_picture(figure: Any, path: Path) -> None:
    """Write a PNG or SVG, whole or not at all; the same figure gives the same bytes.

    Parameters
    ----------
    figure : matplotlib Figure
    path : Path
        It ends in ``.png`` or ``.svg``; an existing file is replaced.

    Raises
    ------
    InputError
        The ending is another one.
    OSError
        The file cannot be written.
    """
    path = user_path(path)
    form, content = picture_form(path), io.BytesIO()
    with style():
        figure.savefig(content, format=form, metadata={"Date": None} if form == "svg" else None)
    write_atomically(path, content.getvalue())
