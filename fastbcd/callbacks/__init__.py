"""Callbacks of the fit loop: measurements, history, progress."""

from __future__ import annotations

from fastbcd.callbacks.history_file import HistoryFile
from fastbcd.callbacks.measurements import Accuracy, Objective
from fastbcd.callbacks.progress import Progress
from fastbcd.fit import Callback

__all__ = ["Accuracy", "Callback", "HistoryFile", "Objective", "Progress"]
