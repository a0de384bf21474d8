"""The rate of the theorem: squared subgradients, their mean, and a line of slope -1."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.plots.curves import require_column
from fastbcd.plots.run import read_runs
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

MEAN = "mean_squared_subgradient"

Line = tuple[Any, Any]


@own_errstate
def plot_subgradient(runs: Any, ax: Any = None, legend: bool = True) -> Any:
    """Draw ``mean_{t <= T} |g^t|^2`` (thick) and ``|g^T|^2`` (thin) over T; return the Axes.

    Both axes are logarithmic. The theorem promises a mean of O(1/T). The dotted line has this
    slope and goes through the first measured mean (the highest one, if there are several runs).
    The runs need the callback `Certify`. Parameters as in `plot_objective`.

    Raises
    ------
    InputError
        No run has measured subgradients, or matplotlib is not installed.
    """
    runs = read_runs(runs)
    require_column(runs, MEAN, cure="; train with --certify, or give fit the callback Certify")
    with style():
        ax, means, squares = axes_or_new(ax), [], []
        for k, run in enumerate(runs):
            T, mean = run.measured(MEAN)
            if not len(T):
                continue
            look = line_style(k, len(runs), len(T))
            if "marker" in look:  # evenly spread on a logarithmic axis
                look["markevery"] = _spread(T)
            ax.plot(T, mean, label=literal(run.name), gid=run_id(MEAN, k), **look)
            means.append((T, mean))
            T, norm = run.measured("subgradient")
            ax.plot(
                *(T, norm**2), color=colour(k), linewidth=0.9, label=f"_square {run.name}",
                gid=run_id("subgradient", k),
            )  # fmt: skip
            squares.append((T, norm**2))
        all_T = np.concatenate([T for T, _ in means])
        highest = max(means, key=lambda line: float(line[1][0]))
        ends = np.array([highest[0][0], all_T.max()])
        rate = ends, highest[1][0] * ends[0] / ends
        ax.plot(*rate, ":", color=GREY, linewidth=1.8, label="_rate")
        whole_iterations(ax)
        finish(ax, "Squared subgradient norm", "|g|²", "T, iterations")
        logarithmic(ax, "y", [y for _, y in means + squares])
        logarithmic(ax, "x", [all_T])
        if ax.get_xscale() == "log":
            _name_lines(ax, means, squares, rate)
        run_legend(ax, len(runs), legend)
    return ax


def _name_lines(ax: Any, means: list[Line], squares: list[Line], rate: Line) -> None:
    """Write a name to the right of the longest lines, and make room for it."""

    def end(lines: list[Line]) -> Line:
        return max((line for line in lines if len(line[0])), key=lambda line: float(line[0][-1]))

    mean_above = end(means)[1][-1] >= rate[1][-1]
    words = [
        ("mean up to T", end(means), "bottom" if mean_above else "top", "black"),
        ("O(1/T)", rate, "top" if mean_above else "bottom", GREY),
    ]
    if any(len(T) for T, _ in squares):
        words.append(("|g|² at T", end(squares), "center", "black"))
    for word, (T, y), side, shade in words:
        if y[-1] > 0.0:
            at = (T[-1], y[-1])
            ax.annotate(word, at, (6, 0), textcoords="offset points", va=side, color=shade)
    first, last = ax.get_xlim()
    ax.set_xlim(first, last * (last / first) ** 0.28)


def _spread(T: Any) -> list[int]:
    """Indices of about eight points that are evenly spread on a logarithmic axis."""
    at = np.searchsorted(T, np.geomspace(max(T[0], 1), max(T[-1], 1), 8))
    return sorted(set(np.minimum(at, len(T) - 1).tolist()))
