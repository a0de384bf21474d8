"""Callbacks of the fit loop: measurements, certificate, history, progress, checkpoints."""

from __future__ import annotations

from fastbcd.callbacks.batch_loss import BatchLoss
from fastbcd.callbacks.block_times import BlockTimes
from fastbcd.callbacks.certificate import Certify
from fastbcd.callbacks.checkpoint import SaveCheckpoint
from fastbcd.callbacks.early_stopping import EarlyStopping
from fastbcd.callbacks.history_file import HistoryFile
from fastbcd.callbacks.interrupt import StopOnSignal
from fastbcd.callbacks.measurements import Accuracy, NumberScores, Objective
from fastbcd.callbacks.progress import Progress
from fastbcd.training.loop import Callback

__all__ = [
    "Accuracy",
    "BatchLoss",
    "BlockTimes",
    "Callback",
    "Certify",
    "EarlyStopping",
    "HistoryFile",
    "NumberScores",
    "Objective",
    "Progress",
    "SaveCheckpoint",
    "StopOnSignal",
]
