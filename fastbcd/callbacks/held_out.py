"""A callback that measures loss and score of the network on held-out samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.kernels import Loss, cross_entropy, loss_sum
from fastbcd.training.loop import Callback, Record, Solver, network_of

Array = NDArray[Any]


class HeldOut(Callback):
    """Adds ``validation_loss`` and ``validation_score``, of the weights that make predictions.

    The loss is the weighted mean of the network's own loss, without penalties and without label
    smoothing. So for the cross-entropy it is the log loss.

    Parameters
    ----------
    X : (n, d_0) array
        Inputs, scaled as in training.
    Y : (n, k) array
        Targets of the network.
    weight : (n,) array or None
        Weights of the samples.
    score : callable
        ``score(outputs, Y, weight)``, the accuracy or R^2 of outputs (n, k).
    """

    def __init__(
        self, X: Array, Y: Array, weight: Array | None, score: Callable[..., float]
    ) -> None:
        self.X, self.Y, self.weight, self.score = X, Y, weight, score

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> None:
        """Measure the weights of `state`."""
        outputs = network_of(solver, state).forward(self.X, solver.device.n_threads)
        record["validation_loss"] = mean_loss(solver.problem.loss, outputs, self.Y, self.weight)
        record["validation_score"] = self.score(outputs, self.Y, self.weight)


def mean_loss(loss: Loss, outputs: Array, Y: Array, weight: Array | None) -> float:
    """``sum_i w_i loss(outputs_i; Y_i) / sum_i w_i``; for the cross-entropy without smoothing."""
    if loss.name == "cross_entropy":
        loss = cross_entropy()
    weight = np.ones(len(outputs)) if weight is None else weight
    Y = np.ascontiguousarray(Y, outputs.dtype)
    return float(loss_sum(loss, np.ascontiguousarray(outputs), Y, weight) / weight.sum())
