"""Objective, accuracy and constraint violation of runs over their iterations."""

from __future__ import annotations

from typing import Any

from fastbcd.errors import InputError
from fastbcd.plots.run import Run, read_runs
from fastbcd.plots.style import (
    GREY,
    axes_or_new,
    colour,
    finish,
    line_style,
    logarithmic,
    run_id,
    run_legend,
    style,
    whole_iterations,
)
from fastbcd.plots.text import literal
from fastbcd.support.floating_point import own_errstate

# Lines of training samples are dashed and their markers hollow; those of test samples are solid.
ACCURACIES: dict[str, tuple[str, dict[str, Any]]] = {
    "train_accuracy": ("train", {"linestyle": "--", "markerfacecolor": "white"}),
    "test_accuracy": ("test", {"linestyle": "-"}),
}


@own_errstate
def plot_objective(runs: Any, ax: Any = None, legend: bool = True) -> Any:
    """Draw F after each iteration, on a logarithmic axis; return the Axes.

    Parameters
    ----------
    runs : run, sequence of runs, or dict of name -> run
        See `fastbcd.plots.read_runs`.
    ax : matplotlib Axes, optional
        Default: Axes of a new figure of pyplot.
    legend : bool, default=True
        Whether to name the runs, if there are several.

    Raises
    ------
    InputError
        No run has an objective, or matplotlib is not installed.
    """
    return _plot_on_log_axis(runs, "objective", "Objective", "F", ax, legend)


@own_errstate
def plot_constraint_gap(runs: Any, ax: Any = None, legend: bool = True) -> Any:
    """Draw the constraint violation: how far states are from a forward pass; return the Axes.

    It is the norm of the violations of all constraints, see
    `fastbcd.ThreeSplitting.objective_and_violation`; parameters as in `plot_objective`.
    """
    label = "norm of all violations"
    return _plot_on_log_axis(runs, "constraint_gap", "Constraint violation", label, ax, legend)


@own_errstate
def plot_accuracy(runs: Any, ax: Any = None, legend: bool = True) -> Any:
    """Draw the accuracy on training (dashed) and test samples (solid); return the Axes.

    Parameters as in `plot_objective`.
    """
    runs = read_runs(runs)
    require_column(runs, *ACCURACIES)
    with style():
        from matplotlib.lines import Line2D

        ax, shown = axes_or_new(ax), {}
        for k, run in enumerate(runs):
            named = False
            for column, (name, look) in ACCURACIES.items():
                x, y = run.measured(column)
                if len(x):
                    label, named = f"_{name} {run.name}" if named else literal(run.name), True
                    own = line_style(k, len(runs), len(x))
                    ax.plot(x, y, label=label, gid=run_id(column, k), **look, **own)
                    shown[name] = {**look, "marker": "o" if "marker" in own else ""}
        whole_iterations(ax)
        finish(ax, "Accuracy", "share of samples")
        shade = colour(0) if len(runs) == 1 else GREY
        names = [name for name, _ in ACCURACIES.values() if name in shown]
        lines = [Line2D([], [], color=shade, **shown[name]) for name in names]
        kinds = ax.legend(lines, names, loc="lower right")
        if legend and len(runs) > 1:
            ax.add_artist(kinds)
            ax.legend(loc="center right")
    return ax


def _plot_on_log_axis(runs: Any, column: str, title: str, label: str, ax: Any, legend: bool) -> Any:
    runs = read_runs(runs)
    require_column(runs, column)
    with style():
        ax, drawn = axes_or_new(ax), []
        for k, run in enumerate(runs):
            x, y = run.measured(column)
            if len(x):
                look = line_style(k, len(runs), len(x))
                ax.plot(x, y, label=literal(run.name), gid=run_id(column, k), **look)
                drawn.append(y)
        whole_iterations(ax)
        finish(ax, title, label)
        logarithmic(ax, "y", drawn)
        run_legend(ax, len(runs), legend)
    return ax


def measured(runs: list[Run], *columns: str) -> bool:
    """Whether at least one run has measured one of `columns`."""
    return any(len(run.measured(column)[0]) for run in runs for column in columns)


def require_column(runs: list[Run], *columns: str, cure: str = "") -> None:
    """Raise `InputError` unless a run has measured one of `columns`."""
    if not measured(runs, *columns):
        names = ", ".join(run.name for run in runs)
        raise InputError(f"{names}: {' and '.join(columns)} were not measured{cure}")
