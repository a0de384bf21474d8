"""Callback that reports the loss that mini-batches had on their way through a pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.errors import InputError
from fastbcd.solvers.mini_batch import MiniBatchState
from fastbcd.training.loop import Callback, Record, Result


class BatchLoss(Callback):
    """Adds ``batch_loss``: mean loss of a pass's samples, each before the step of its batch.

    Of the weights of the moment, not of their mean, without penalties, each sample counting its
    weight. It costs next to nothing, where `Objective` costs a forward pass over all samples.
    For `MiniBatchThreeSplitting` only.
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
