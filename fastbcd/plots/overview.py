"""One figure with all panels of one or several runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastbcd.callbacks.block_times import BlockTimes
from fastbcd.errors import InputError
from fastbcd.plots.block_times import plot_block_times
from fastbcd.plots.curves import (
    ACCURACIES,
    measured,
    plot_accuracy,
    plot_constraint_gap,
    plot_objective,
)
from fastbcd.plots.run import Run, options_of, read_runs
from fastbcd.plots.style import STYLE, line_style, style
from fastbcd.plots.subgradient import MEAN, plot_subgradient
from fastbcd.plots.text import literal
from fastbcd.support.floating_point import own_errstate

# Columns of which a panel needs one, and the function that draws it.
PANELS: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "objective": (("objective",), plot_objective),
    "accuracy": (tuple(ACCURACIES), plot_accuracy),
    "constraint_gap": (("constraint_gap",), plot_constraint_gap),
    "subgradient": ((MEAN,), plot_subgradient),
    "block_times": (BlockTimes.columns, plot_block_times),
}
# Approximate size of a panel in inches.
WIDTH, HEIGHT = 4.5, 3.4
MOST_ACROSS = 3


@own_errstate
def plot_runs(runs: Any, figure: Any = None) -> dict[str, Any]:
    """Draw every panel for which a run has data; return their Axes by name.

    Parameters
    ----------
    runs : run, sequence of runs, or dict of name -> run
        See `fastbcd.plots.read_runs`.
    figure : matplotlib Figure, optional
        It must be empty; default: a new figure of pyplot.

    Returns
    -------
    dict of str -> Axes
        The names are ``objective``, ``accuracy``, ``constraint_gap``, ``subgradient`` and
        ``block_times``, as far as there are data.

    Raises
    ------
    InputError
        No run has data for any panel, a run cannot be read, or matplotlib is not installed.
    """
    runs = read_runs(runs)
    panels = panels_of(runs)
    with style():
        if figure is None:
            from matplotlib import pyplot

            figure = pyplot.figure(layout="constrained")
        axes = _places(figure, list(panels), len(runs))
        for name, draw in panels.items():
            draw(runs, ax=axes[name], legend=False)
        _name_runs(figure, runs)
    return axes


def panels_of(runs: list[Run]) -> dict[str, Callable[..., Any]]:
    """Functions that draw the panels for which a run has data; `InputError` if there is none."""
    panels = {name: draw for name, (columns, draw) in PANELS.items() if measured(runs, *columns)}
    if not panels:
        names = ", ".join(run.name for run in runs)
        raise InputError(f"{names}: nothing was measured that could be drawn")
    return panels


def titles_of(runs: list[Run]) -> list[str]:
    """Name and last test accuracy of each run, and the options of one that is alone."""
    titles = []
    for run in runs:
        title, accuracy = run.name, run.measured("test_accuracy")[1]
        if len(runs) == 1 and run.config:
            title += f": {options_of(run)}"
        titles.append(f"{title} (test accuracy {accuracy[-1]:.4f})" if len(accuracy) else title)
    return titles


def _places(figure: Any, names: list[str], n_runs: int) -> dict[str, Any]:
    """Axes in one or two rows, each of which fills the width."""
    n = len(names)
    across = n if n <= MOST_ACROSS else -(-n // 2)
    rows = [names[:across], names[across:]] if n > across else [names]
    figure.set_size_inches(WIDTH * across, HEIGHT * len(rows) + 0.2 * (n_runs + 1))
    figure.get_layout_engine().set(w_pad=0.08)
    grid = figure.add_gridspec(len(rows), 6)
    return {
        name: figure.add_subplot(grid[k, j * 6 // len(row) : (j + 1) * 6 // len(row)])
        for k, row in enumerate(rows)
        for j, name in enumerate(row)
    }


def _name_runs(figure: Any, runs: list[Run]) -> None:
    """Write colour, marker and title of each run above the panels."""
    from matplotlib.lines import Line2D

    names = [literal(title) for title in titles_of(runs)]
    if len(runs) == 1:
        figure.suptitle(names[0], x=0.01, ha="left", fontsize=STYLE["axes.titlesize"])
    else:
        keys = [Line2D([], [], **line_style(k, len(runs))) for k in range(len(runs))]
        figure.legend(keys, names, loc="outside upper left")
