"""Callback that reports the mean loss of the mini-batches of a pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.errors import InputError
from fastbcd.solvers.mini_batch import MiniBatchState
from fastbcd.training.loop import Callback, Record, Result


class BatchLoss(Callback):
    """Adds ``batch_loss``: mean loss of the samples of a pass, each before the step of its batch.

    The loss is that of the current weights, not of their running mean. It has no penalties, and
    each sample counts its weight. It costs almost nothing, while `Objective` costs a forward pass
    over all samples. It is for `MiniBatchThreeSplitting` only.
    """

    def on_start(self, solver: Any, state: Any, max_iter: int) -> None:
        if not isinstance(state, MiniBatchState):
            raise InputError(
                f"BatchLoss: {type(solver).__name__} has no mini-batches; use Objective"
            )
        self._before, state.batch_loss = state.batch_loss, np.zeros(2)

    def on_iteration(self, solver: Any, state: Any, record: Record) -> None:
        total, samples = state.batch_loss
        record["batch_loss"] = float(total / samples)
        state.batch_loss[:] = 0.0

    def on_end(self, result: Result) -> None:
        result.state.batch_loss = self._before
