"""Callback that measures whether a run keeps the promises of the theorems."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.callbacks.measurements import Every
from fastbcd.errors import InputError
from fastbcd.problem.requirements import check_subgradient
from fastbcd.training.certificate import Certificate
from fastbcd.training.descent_log import DescentLog
from fastbcd.training.loop import Record, Result


class Certify(Every):
    """Measures what Theorems 1 to 3 promise; the result's `certificate` says whether it held.

    In each iteration the blocks report ``decrease`` of F and ``step``. From these follow
    ``sufficient_decrease`` (decrease over squared step) and ``tracked_objective`` (F by adding
    up decreases, corrected wherever F is evaluated). Every `every` iterations, and in the last
    one of `max_iter`, passes over the samples give F itself, ``subgradient`` (its norm),
    ``subgradient_bound`` (norm over step) and ``mean_squared_subgradient`` (over all measured).
    Norms are those of `fastbcd.training.descent_log.DescentLog`.

    Parameters
    ----------
    every : int, default=1
        Iterations between measurements of the subgradient. Give `Objective` before this callback.
    """

    columns = (
        "tracked_objective",
        "decrease",
        "step",
        "sufficient_decrease",
        "subgradient",
        "subgradient_bound",
        "mean_squared_subgradient",
    )

    def on_start(self, solver: Any, state: Any, max_iter: int) -> None:
        if not solver.monotone:
            raise InputError(
                f"Certify: {type(solver).__name__} does not promise descent, so there is nothing "
                "to certify; use ThreeSplitting or TwoSplitting"
            )
        check_subgradient(solver.problem)
        super().on_start(solver, state, max_iter)
        self._state, self._log_before = state, state.descent_log
        if state.descent_log is None:
            state.descent_log = DescentLog()
        start = solver.objective(state)
        eps = float(np.finfo(solver.dtype).eps)
        self.certificate = Certificate(
            str(solver.dtype),
            solver.promised_decrease(),
            start,
            state.iteration,
            floor=4.0 * eps * eps * (solver.magnitude_bound(state) + start),
            accelerated=solver.acceleration is not None,
        )

    def on_iteration(self, solver: Any, state: Any, record: Record) -> None:
        descent_log = state.descent_log
        assert descent_log is not None
        squared, objective = None, record.get("objective")
        if self.due(record):
            squared = solver.squared_subgradient(state)
            objective = solver.objective(state) if objective is None else objective
        row: dict[str, Any] = self.certificate.add(
            record["iteration"],
            descent_log.decrease,
            descent_log.squared_step,
            objective,
            squared,
            descent_log.squared_extrapolation,
        )
        record.update({name: value for name, value in row.items() if math.isfinite(value)})

    def on_end(self, result: Result) -> None:
        self._state.descent_log = result.state.descent_log = self._log_before
        result.certificate = self.certificate

    def state_dict(self) -> dict[str, Any]:
        return self.certificate.state_dict()

    def load_state_dict(self, remembered: dict[str, Any]) -> None:
        self.certificate.load_state_dict(remembered)
