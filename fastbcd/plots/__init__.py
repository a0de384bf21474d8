"""Pictures of runs, by matplotlib: one function for each panel; `plot_runs` draws all panels.

``runs`` is one run, a sequence of runs, or a dict of names and runs. A run is a folder that
``fastbcd train`` wrote, or a result or a history of `fit`; see `read_runs`.
"""

from __future__ import annotations

from fastbcd.plots.block_times import plot_block_times
from fastbcd.plots.confusion import confusion_size, plot_confusion
from fastbcd.plots.curves import plot_accuracy, plot_constraint_gap, plot_objective
from fastbcd.plots.images import plot_filters, plot_missed
from fastbcd.plots.overview import plot_runs
from fastbcd.plots.page import save_page
from fastbcd.plots.run import Run, read_runs
from fastbcd.plots.style import new_figure, picture_form, save_picture
from fastbcd.plots.subgradient import plot_subgradient
from fastbcd.plots.text import literal

__all__ = [
    "Run",
    "confusion_size",
    "literal",
    "new_figure",
    "picture_form",
    "plot_accuracy",
    "plot_block_times",
    "plot_confusion",
    "plot_constraint_gap",
    "plot_filters",
    "plot_missed",
    "plot_objective",
    "plot_runs",
    "plot_subgradient",
    "read_runs",
    "save_page",
    "save_picture",
]
