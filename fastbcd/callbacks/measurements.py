"""Callbacks that measure the objective and the accuracy every few iterations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastbcd.solvers.base import BlockCoordinateDescent
from fastbcd.support.parameters import require_integer
from fastbcd.training.loop import Callback, Record, Solver, network_of


class Every(Callback):
    """Measures in iterations `every`, 2 `every`, ..., and in the last one.

    Parameters
    ----------
    every : int
    """

    def __init__(self, every: int) -> None:
        self.every = require_integer(every, "every", at_least=1)

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        self._last = max_iter

    def due(self, record: Record) -> bool:
        """Whether to measure in the iteration of `record`."""
        iteration = record["iteration"]
        return iteration % self.every == 0 or iteration == self._last


class Objective(Every):
    """Adds ``objective``: F of the state. It costs one product per layer and pass.

    Full-batch solvers get ``constraint_gap`` in the same pass: the constraint violation, which is
    how far the states are from a forward pass (`ThreeSplitting.objective_and_violation`).

    Parameters
    ----------
    every : int, default=1
        Iterations between measurements; the last iteration is always measured.
    """

    def __init__(self, every: int = 1) -> None:
        super().__init__(every)

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> None:
        if not self.due(record):
            return
        if isinstance(solver, BlockCoordinateDescent):
            record["objective"], record["constraint_gap"] = solver.objective_and_violation(state)
        else:
            record["objective"] = solver.objective(state)


class Accuracy(Every):
    """Adds ``NAME_accuracy``: the share of samples whose largest output is their class.

    Parameters
    ----------
    name : str
        For example ``"train"`` or ``"test"``.
    X : (n, d_0) array
    labels : (n,) array of int
        Index of each sample's class. Each rank gives its own samples; a rank may have none.
    every : int, default=1
    """

    def __init__(self, name: str, X: ArrayLike, labels: ArrayLike, every: int = 1) -> None:
        super().__init__(every)
        self.name, self.X, self.labels = name, X, np.asarray(labels)

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> None:
        if self.due(record):
            right = 0
            if len(self.labels):
                network, X = network_of(solver, state), np.asarray(self.X)
                for rows in solver.device.blocks(X):
                    outputs = network.forward(X[rows], solver.device.n_threads)
                    right += int(np.count_nonzero(hits(outputs, self.labels[rows])))
            counts = np.array([right, len(self.labels)], np.float64)
            solver.device.ranks.sum(counts)
            record[f"{self.name}_accuracy"] = float(counts[0] / counts[1])


def accuracy(outputs: Any, labels: Any) -> float:
    """Share of rows of `outputs` (n, k) whose largest entry is at `labels` (n,)."""
    return float(np.mean(hits(outputs, labels)))


def hits(outputs: Any, labels: Any) -> Any:
    """Whether the largest entry of each row of `outputs` (n, k) is at `labels` (n,)."""
    return np.argmax(outputs, axis=1) == labels
