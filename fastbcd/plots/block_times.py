"""Bars of the time that the blocks of an iteration take."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.callbacks.block_times import BlockTimes
from fastbcd.plots.curves import require_column
from fastbcd.plots.run import read_runs
from fastbcd.plots.style import axes_or_new, colour, finish, run_id, run_legend, style
from fastbcd.plots.text import literal
from fastbcd.support.floating_point import own_errstate

# With more runs than this, numbers above neighbouring bars would touch.
NUMBERED = 2


@own_errstate
def plot_block_times(runs: Any, ax: Any = None, legend: bool = True) -> Any:
    """Draw bars of the processor seconds that V-, U- and W-blocks take; return the Axes.

    A bar is the median over iterations, so that the compilation of kernels in the first one does
    not count. The runs need the callback `BlockTimes`; parameters as in `plot_objective`.
    """
    runs = read_runs(runs)
    columns = BlockTimes.columns
    require_column(runs, *columns, cure="; give fit the callback BlockTimes")
    with style():
        from matplotlib.ticker import FuncFormatter

        ax, width, longest = axes_or_new(ax), 0.8 / len(runs), 0.0
        drawn: list[Any] = []
        for k, run in enumerate(runs):
            offset = (k - (len(runs) - 1) / 2) * width
            medians = {
                place: float(np.median(seconds))
                for place, column in enumerate(columns)
                if len(seconds := run.measured(column)[1])
            }
            bars = ax.bar(
                [place + offset for place in medians],
                list(medians.values()),
                width=0.92 * width,
                color=colour(k),
                label=literal(run.name),
            )
            for bar, place in zip(bars, medians, strict=True):
                bar.set_gid(run_id(columns[place], k))
            longest = max(longest, *medians.values(), 0.0)
            drawn.append(bars)
        unit, factor = ("seconds", 1.0) if longest >= 0.1 else ("milliseconds", 1e3)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{factor * seconds:g}"))
        for bars in drawn if len(runs) <= NUMBERED else []:
            numbers = ax.bar_label(bars, fmt=lambda seconds: f"{factor * seconds:.3g}")
            for bar, number in zip(bars, numbers, strict=True):
                number.set_gid(f"{bar.get_gid()}-number")
        ax.margins(y=0.08)
        ax.set_xticks(range(len(columns)), [column[-1] for column in columns])
        finish(ax, "Time per block", f"processor {unit} per iteration", "block")
        ax.grid(visible=False, axis="x")
        run_legend(ax, len(runs), legend)
    return ax
