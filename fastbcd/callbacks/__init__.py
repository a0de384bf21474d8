"""Callbacks of the fit loop: measurements, certificate, history, progress."""

from __future__ import annotations

from fastbcd.callbacks.batch_loss import BatchLoss
from fastbcd.callbacks.certificate import Certify
from fastbcd.callbacks.early_stopping import EarlyStopping
from fastbcd.callbacks.history_file import HistoryFile
from fastbcd.callbacks.measurements import Accuracy, Objective
from fastbcd.callbacks.progress import Progress
from fastbcd.fit import Callback

__all__ = [
    "Accuracy",
    "BatchLoss",
    "Callback",
    "Certify",
    "EarlyStopping",
    "HistoryFile",
    "Objective",
    "Progress",
]
