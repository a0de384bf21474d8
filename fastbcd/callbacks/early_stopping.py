"""Callback that ends a run when a measurement stops improving, and keeps the best weights."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from fastbcd.errors import InputError
from fastbcd.models.network import Network
from fastbcd.support.parameters import choice, plain, require, require_integer
from fastbcd.support.stored import check_state_dict
from fastbcd.training.loop import Callback, Record, Result, Solver

MODES = {"max": 1.0, "min": -1.0}


class EarlyStopping(Callback):
    """Stops once ``record[monitor]`` has not risen by `tol` for `n_iter_no_change` measurements.

    At the end the result's network has the weights of the best measurement, whether or not this
    callback stopped the run. The state is that of the last iteration, so that a run may go on from
    it. NaN is worse than any number.

    After `fastbcd.resume` the callback remembers its measurements. A run that it had stopped takes
    no further iteration, unless `n_iter_no_change` is larger now.

    Parameters
    ----------
    monitor : str, default="validation_accuracy"
        A column that an earlier callback adds; ``Accuracy("validation", X, labels)`` adds this one.
    n_iter_no_change : int, default=10
        Measurements to wait; iterations without a measurement do not count.
    tol : float, default=1e-4
        A gain below this does not count for stopping; the best weights are those of the best
        measurement nevertheless.
    mode : {"max", "min"}, default="max"
        Whether the measurement should rise or fall.

    Attributes
    ----------
    best : float or None
        The best measurement; None before the first.
    best_iteration : int
        Its iteration; 0 before the first.

    Raises
    ------
    InputError
        In the last iteration, if no callback adds `monitor`. On resuming, if the EarlyStopping of
        the checkpoint had another `monitor` or `mode`.
    """

    def __init__(
        self,
        monitor: str = "validation_accuracy",
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        mode: str = "max",
    ) -> None:
        self.monitor = plain(monitor)
        if not isinstance(self.monitor, str):
            raise InputError(f"monitor must be the name of a measurement, got {monitor!r}")
        self.n_iter_no_change = require_integer(n_iter_no_change, "n_iter_no_change", at_least=1)
        self.tol = require(tol, "tol", at_least=0)
        self.mode = choice(mode, MODES, "mode")
        self._forget()

    def _forget(self) -> None:
        self.best: float | None = None
        self.best_iteration = 0
        self._to_beat = -math.inf  # a number of `_height`: larger is better
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
        height = self._height(value)
        if self.best is None or height > self._height(self.best):
            self.best, self.best_iteration = float(value), record["iteration"]
            self._weights = [solver.device.copy(W) for W in state.weights]
        if height > self._to_beat + self.tol:
            self._to_beat, self._waited = height, 0
        else:
            self._waited += 1
        return self._waited >= self.n_iter_no_change

    def _height(self, value: float) -> float:
        """Larger is better, and NaN is worst."""
        return -math.inf if math.isnan(value) else MODES[self.mode] * float(value)

    def on_end(self, result: Result) -> None:
        if self._weights:
            problem, numpy = self._solver.problem, self._solver.device.numpy
            weights = [numpy(W) for W in self._weights]
            result.network = Network(weights, problem.activations, problem.residual, problem.layers)

    def state_dict(self) -> dict[str, Any]:
        return {
            "version": 1,
            "monitor": self.monitor,
            "mode": self.mode,
            "best": self.best,
            "best_iteration": self.best_iteration,
            "to_beat": None if self._to_beat == -math.inf else self._to_beat,
            "waited": self._waited,
            "weights": self._weights,
        }

    def load_state_dict(self, remembered: dict[str, Any]) -> None:
        """Go on from `remembered`, which `state_dict` gave; a run that was over stays over.

        Raises
        ------
        InputError
            It is of an EarlyStopping with another monitor or mode, or has other keys.
        """
        check_state_dict(remembered, self.state_dict(), "EarlyStopping")
        for name in ("monitor", "mode"):
            before, now = remembered[name], getattr(self, name)
            if before != now:
                raise InputError(
                    f"{name}: the EarlyStopping of the checkpoint had {before!r}, this one has "
                    f"{now!r}; resume with {before!r}"
                )
        self.best, self._waited = remembered["best"], remembered["waited"]
        self.best_iteration, self._weights = remembered["best_iteration"], remembered["weights"]
        to_beat = remembered["to_beat"]
        self._to_beat = -math.inf if to_beat is None else to_beat
        if self._waited >= self.n_iter_no_change:
            self.result.stopped_by = self  # the loop takes no further iteration
