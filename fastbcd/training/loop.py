"""The loop around `step`: the only one there is. Everything else is a callback."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.ranks import collective_errors
from fastbcd.errors import InputError
from fastbcd.kernels.streams import warn
from fastbcd.models.network import Network
from fastbcd.problem import Problem
from fastbcd.support.parameters import require_integer
from fastbcd.training.certificate import Certificate

Record = dict[str, Any]
"""One row of history: iteration, seconds, and what callbacks measured."""


class Solver(Protocol):
    """What the loop and most callbacks need of a solver."""

    problem: Problem
    device: Device
    dtype: np.dtype
    monotone: bool

    def step(self, state: Any) -> Any:
        """One iteration, that is one pass over all samples."""

    def objective(self, state: Any) -> float:
        """Objective of a state."""


class Callback:
    """Called by the loop; override what you need. Order matters: earlier ones fill the record."""

    everywhere = True
    """Whether all ranks of a run call it; else the first one does, for what is to be done once."""
    result: Result
    """Of the run, growing: history so far, all callbacks. The loop sets it before `on_start`."""

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        """Before the first iteration, also of a run that goes on from a checkpoint.

        `state` is where `solver` starts from; `max_iter` is counted from iteration 0.
        """

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> bool | None:
        """After each iteration: add to `record`; return True to stop. Its time is not counted.

        `solver` and its `state` after the iteration are not to be changed.
        """

    def on_end(self, result: Result) -> None:
        """After the last iteration, also when an exception ended the run: close what is open.

        `result` is what `fit` will return.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep of this callback: numbers, texts, arrays, lists of these."""
        return {}

    def load_state_dict(self, remembered: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, `remembered`; called after `on_start`."""


@dataclass
class RunHistory:
    """Of a run that goes on: its history, and by name what callbacks remember."""

    history: list[Record]
    callbacks: list[tuple[str, dict[str, Any]]]


@dataclass
class Result:
    """What a run leaves behind.

    Attributes
    ----------
    state : State or MiniBatchState
        All blocks after the last iteration.
    network : Network
        The trained network.
    history : list of dict
        One record an iteration: ``iteration``, ``seconds`` (cumulative, steps only), and
        what the callbacks added.
    stopped_by : Callback or None
        The callback that ended the run before `max_iter`.
    certificate : Certificate or None
        Where the callback `Certify` took part: whether each promise of the theorems held.
    callbacks : list of Callback
        Those that took part.
    """

    state: Any
    network: Network
    history: list[Record] = field(default_factory=list)
    stopped_by: Callback | None = None
    certificate: Certificate | None = None
    callbacks: list[Callback] = field(default_factory=list, repr=False)


def network_of(solver: Solver, state: Any) -> Network:
    """The network with the weights of `state`; they are shared, not copied."""
    weights = [solver.device.numpy(W) for W in state.weights]
    problem = solver.problem
    return Network(weights, problem.activations, problem.residual, problem.layers)


def run(
    solver: Solver,
    state: Any,
    max_iter: int,
    callbacks: Iterable[Callback] = (),
    past: RunHistory | None = None,
) -> Result:
    """Step from `state` until `max_iter` iterations are done or a callback returns True.

    Parameters
    ----------
    solver : Solver
    state : State or MiniBatchState
        Stepped in place.
    max_iter : int
        Counted from the first iteration of the whole run.
    callbacks : iterable of Callback
        Called in this order; where the solver is spread over ranks, the same ones on all of them.
    past : RunHistory, optional
        Of a run that goes on, see `fastbcd.resume`.

    Raises
    ------
    InputError
        `callbacks` is no list.
    FloatingPointError
        When a measured objective, step or subgradient is not finite.
    """
    max_iter = require_integer(max_iter, "max_iter", at_least=0)
    if not isinstance(callbacks, Iterable):
        raise InputError(f"callbacks must be a list of callbacks, got {callbacks!r}")
    callbacks, past = list(callbacks), past or RunHistory([], [])
    history, ranks = list(past.history), solver.device.ranks
    result = Result(state, network_of(solver, state), history, callbacks=callbacks)
    seconds = history[-1]["seconds"] if history else 0.0
    measured = (record["objective"] for record in reversed(history) if "objective" in record)
    previous, started, remembered = next(measured, np.inf), [], list(past.callbacks)
    try:
        for callback in callbacks:
            callback.result = result
            with collective_errors(ranks):
                if callback.everywhere or ranks.rank == 0:
                    callback.on_start(solver, state, max_iter)
                    started.append(callback)
                for entry in remembered:
                    if entry[0] == type(callback).__name__:
                        if callback in started:
                            callback.load_state_dict(entry[1])
                        remembered.remove(entry)  # the next of this kind gets the next one
                        break
        while state.iteration < max_iter and result.stopped_by is None:
            record: Record = {"iteration": state.iteration + 1}
            stops: list[int] = []
            with collective_errors(ranks):
                start = time.perf_counter()
                state = solver.step(state)
                seconds += time.perf_counter() - start
                record["seconds"] = seconds
                result.history.append(record)
                for k, callback in enumerate(callbacks):
                    if callback in started and callback.on_iteration(solver, state, record):
                        stops.append(k)
            # A signal may have reached one rank only; all stop after the same iteration.
            first = min((k for each in ranks.gather(stops) for k in each), default=None)
            if first is not None:
                result.stopped_by = callbacks[first]
            if solver.monotone:
                previous = _check_descent(result.history, previous, solver)
    finally:
        result.state, result.network = state, network_of(solver, state)
        with ExitStack() as ends:  # all of them, whatever one of them raises, in this order
            for callback in reversed(started):
                ends.callback(callback.on_end, result)
    return result


class DescentWarning(RuntimeWarning):
    """The objective rose by more than rounding can explain."""


def _check_descent(history: list[Record], previous: float, solver: Solver) -> float:
    """Hold the run to its promise: F is finite and does not rise."""
    record, first = history[-1], history[0].get("objective", 0.0)
    objective = record.get("objective")
    if objective is None:
        return previous
    if not np.isfinite(objective):
        raise FloatingPointError(
            f"objective is {objective} after iteration {record['iteration']}: the data's scale is "
            f"too large for {solver.dtype}; scale the inputs or use float64"
        )
    # Sums of squares that fell below the rounding of the first ones may do as they like.
    if objective > previous * (1 + 1e-6) + (10 * np.finfo(solver.dtype).eps) ** 2 * first:
        warn(
            f"objective rose from {previous:.9g} to {objective:.9g} in iteration "
            f"{record['iteration']}: rounding in {solver.dtype}; use float64, or a larger alpha",
            DescentWarning,
            stacklevel=3,
        )
    return objective
