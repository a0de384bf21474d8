"""A callback that scores the network on held-out samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from fastbcd.training.loop import Callback, Record, Solver, network_of


class ValidationScore(Callback):
    """Adds ``validation_score``: ``score(outputs)`` for inputs X (n, d_0), scaled as in training.

    Outputs (n, k) are those of the weights that are used for prediction.
    """

    def __init__(self, X: NDArray[Any], score: Callable[[NDArray[Any]], float]) -> None:
        self.X, self.score = X, score

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> None:
        """Score the weights that are used for prediction."""
        outputs = network_of(solver, state).forward(self.X, solver.device.n_threads)
        record["validation_score"] = self.score(outputs)
