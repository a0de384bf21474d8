"""Callbacks that measure the objective, and accuracy or R^2 and loss, every few iterations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastbcd.data.sparse import is_sparse, sparse_rows
from fastbcd.kernels import loss_sum
from fastbcd.models.means import means
from fastbcd.solvers.base import BlockCoordinateDescent
from fastbcd.support.parameters import require_integer
from fastbcd.training.loop import Callback, Record, Solver, network_of


class Every(Callback):
    """Measures in iterations `every`, 2 `every`, ..., and in the last one.

    Parameters
    ----------
    every : int, default=1
    """

    def __init__(self, every: int = 1) -> None:
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

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> None:
        if not self.due(record):
            return
        if isinstance(solver, BlockCoordinateDescent):
            record["objective"], record["constraint_gap"] = solver.objective_and_violation(state)
        else:
            record["objective"] = solver.objective(state)


class Accuracy(Every):
    """Adds ``NAME_accuracy``: the share of samples whose largest output is their class.

    With several labels it is the share of samples all of whose labels are right.

    Parameters
    ----------
    name : str
        For example ``"train"`` or ``"test"``.
    X : (n, d_0) array
    labels : (n,) array of int, or (n, k) of 0 and 1
        Index of each sample's class, or its labels. Each rank gives its own samples; a rank may
        have none.
    every : int, default=1
    """

    def __init__(self, name: str, X: ArrayLike, labels: ArrayLike, every: int = 1) -> None:
        super().__init__(every)
        self.name, self.X, self.labels = name, _samples(X), np.asarray(labels)

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> None:
        if self.due(record):
            right = 0
            if len(self.labels):
                network, X = network_of(solver, state), self.X
                for rows in solver.device.blocks(X):
                    outputs = network.forward(X[rows], solver.device.n_threads)
                    right += int(np.count_nonzero(hits(outputs, self.labels[rows])))
            counts = np.array([right, len(self.labels)], np.float64)
            solver.device.ranks.sum(counts)
            record[f"{self.name}_accuracy"] = float(counts[0] / counts[1])


class NumberScores(Every):
    """Adds ``NAME_r2`` and ``NAME_loss``: R^2 and mean loss of predicted numbers.

    ``R^2 = mean_j (1 - sum_i (y_ij - p_ij)^2 / sum_i (y_ij - mean_j)^2)``, p being `means` of the
    network's outputs. It is 0 for a target j that is constant. Targets are scaled as in training,
    which leaves R^2 as it is. The loss has no penalties.

    Parameters
    ----------
    name : str
        For example ``"train"`` or ``"test"``.
    X : (n, d_0) array
    Y : (n, k) array
        Targets of the network. Each rank gives its own samples; a rank may have none.
    every : int, default=1
    """

    def __init__(self, name: str, X: ArrayLike, Y: ArrayLike, every: int = 1) -> None:
        super().__init__(every)
        self.name, self.X, self.Y = name, _samples(X), np.asarray(Y)

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        super().on_start(solver, state, max_iter)
        ranks = solver.device.ranks
        total = np.append(self.Y.sum(axis=0, dtype=np.float64), float(len(self.Y)))
        ranks.sum(total)
        self._n = float(total[-1])
        self._spread = np.square(self.Y - total[:-1] / self._n).sum(axis=0, dtype=np.float64)
        ranks.sum(self._spread)

    def on_iteration(self, solver: Any, state: Any, record: Record) -> None:
        if not self.due(record):
            return
        loss = solver.problem.loss
        sums = np.zeros(self.Y.shape[1] + 1)
        if len(self.Y):
            network, X = network_of(solver, state), self.X
            for rows in solver.device.blocks(X):
                outputs, Y = network.forward(X[rows], solver.device.n_threads), self.Y[rows]
                error = means(loss.name, outputs.astype(np.float64)) - Y
                sums[:-1] += np.square(error).sum(axis=0)
                sums[-1] += loss_sum(loss, outputs, Y)
        solver.device.ranks.sum(sums)
        share = np.divide(
            sums[:-1], self._spread, out=np.ones(len(sums) - 1), where=self._spread > 0
        )
        record[f"{self.name}_r2"] = float(np.mean(1.0 - share))
        record[f"{self.name}_loss"] = float(sums[-1] / self._n)


def accuracy(outputs: Any, labels: Any) -> float:
    """Share of samples that `hits` marks."""
    return float(np.mean(hits(outputs, labels)))


def hits(outputs: Any, labels: Any) -> Any:
    """Whether the largest entry of each row of `outputs` (n, k) is at `labels` (n,).

    For `labels` (n, k) of 0 and 1: whether those above 0 are the ones.
    """
    if labels.ndim == 2:
        return ((outputs > 0) == (labels > 0)).all(axis=1)
    return np.argmax(outputs, axis=1) == labels


def _samples(X: Any) -> Any:
    return sparse_rows(X, "X") if is_sparse(X) else np.asarray(X)
