"""Callback that ends a run where a measurement no longer improves, and keeps the best weights."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from fastbcd.errors import InputError
from fastbcd.fit import Callback, Record, Result, Solver
from fastbcd.network import Network
from fastbcd.specification import require, require_integer

MODES = {"max": 1.0, "min": -1.0}


class EarlyStopping(Callback):
    """Stops once ``record[monitor]`` has not risen by `tol` for `n_iter_no_change` measurements.

    At the end, also where nothing stopped the run, the result's network has the weights of the
    best measurement. The state is that of the last iteration, so that a run may go on from it.

    Parameters
    ----------
    monitor : str, default="validation_accuracy"
        What an earlier callback measures: ``Accuracy("validation", X, labels)`` adds the default.
    n_iter_no_change : int, default=10
        Iterations without the measurement count for nothing.
    tol : float, default=1e-4
        A smaller gain is none, as far as stopping goes; the best weights are those of the best
        measurement all the same.
    mode : {"max", "min"}, default="max"
        ``"min"`` for what should fall.

    Attributes
    ----------
    best : float or None
        The best measurement; None before the first.
    best_iteration : int
        Its iteration; 0 before the first.

    Raises
    ------
    InputError
        In the last iteration: no callback adds `monitor`.
    """

    def __init__(
        self,
        monitor: str = "validation_accuracy",
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        mode: str = "max",
    ) -> None:
        self.monitor = monitor
        self.n_iter_no_change = require_integer(n_iter_no_change, "n_iter_no_change", at_least=1)
        self.tol = require(tol, "tol", at_least=0)
        if mode not in MODES:
            raise InputError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.mode = mode
        self._forget()

    def _forget(self) -> None:
        self.best: float | None = None
        self.best_iteration = 0
        self._to_beat = -math.inf  # with its sign: larger is better
        self._waited = 0
        self._weights: list[NDArray[Any]] = []

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        self._forget()
        self._solver, self._last = solver, max_iter

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> bool | None:
        value = record.get(self.monitor)
        if value is None:
            if record["iteration"] == self._last and self.best is None:
                raise InputError(
                    f"monitor: no callback before EarlyStopping measured {self.monitor!r}; "
                    f"this run has {', '.join(record)}"
                )
            return None
        sign = MODES[self.mode]
        if self.best is None or sign * value > sign * self.best:
            self.best, self.best_iteration = float(value), record["iteration"]
            self._weights = [solver.device.copy(W) for W in state.weights]
        if sign * value > self._to_beat + self.tol:
            self._to_beat, self._waited = sign * float(value), 0
        else:
            self._waited += 1
        return self._waited >= self.n_iter_no_change

    def on_end(self, result: Result) -> None:
        if self._weights:
            problem, numpy = self._solver.problem, self._solver.device.numpy
            weights = [numpy(W) for W in self._weights]
            result.network = Network(weights, problem.activations, problem.residual)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_iteration": self.best_iteration,
            "to_beat": None if self.best is None else self._to_beat,
            "waited": self._waited,
            "weights": self._weights,
        }

    def load_state_dict(self, remembered: dict[str, Any]) -> None:
        self.best, self._waited = remembered["best"], remembered["waited"]
        self.best_iteration, self._weights = remembered["best_iteration"], remembered["weights"]
        self._to_beat = -math.inf if self.best is None else remembered["to_beat"]
