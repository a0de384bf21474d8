"""The training loop around `step`. Everything else that happens in a run is a callback."""

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
    """The part of a solver that the loop and most callbacks use."""

    problem: Problem
    device: Device
    dtype: np.dtype
    monotone: bool

    def step(self, state: Any) -> Any:
        """Do one iteration, which is one pass over all samples."""

    def objective(self, state: Any) -> float:
        """Objective of a state."""


class Callback:
    """The loop calls these methods, in the order of the callbacks; override what you need."""

    everywhere = True
    """Whether all ranks call it; False: only the first rank does, for work that is done once."""
    result: Result
    """The result so far, with history and all callbacks. The loop sets it before `on_start`."""

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        """Called before the first iteration, also when a run goes on from a checkpoint.

        `solver` starts from `state`; `max_iter` counts from iteration 0.
        """

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> bool | None:
        """Called after each iteration: add to `record`; return True to stop the run.

        Do not change `solver` or its `state`. The time of this call is not counted.
        """

    def on_end(self, result: Result) -> None:
        """Called after the last iteration, also after an exception: close what is open.

        `fit` will return `result`.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return the entries of a checkpoint: numbers, texts, arrays, lists and dicts of these."""
        return {}

    def load_state_dict(self, remembered: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, `remembered`; called after `on_start`."""


@dataclass
class RunHistory:
    """The history of a run that goes on, and the name and memory of each of its callbacks."""

    history: list[Record]
    callbacks: list[tuple[str, dict[str, Any]]]


@dataclass
class Result:
    """The outcome of a run.

    Attributes
    ----------
    state : State or MiniBatchState
        All blocks after the last iteration.
    network : Network
        The trained network.
    history : list of dict
        One record per iteration: ``iteration``, ``seconds`` (cumulative, steps only), and the
        numbers that callbacks added.
    stopped_by : Callback or None
        The callback that ended the run before `max_iter`.
    certificate : Certificate or None
        Whether each promise of the theorems held, if the callback `Certify` took part.
    callbacks : list of Callback
        All callbacks of the run.
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
        It is changed in place.
    max_iter : int
        Counted from the first iteration of the whole run.
    callbacks : iterable of Callback
        They are called in this order; all ranks of a solver must give the same ones.
    past : RunHistory, optional
        History of a run that goes on; see `fastbcd.resume`.

    Raises
    ------
    InputError
        `callbacks` is no list.
    FloatingPointError
        A measured objective, step or subgradient is not finite.
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
                        remembered.remove(entry)  # the next callback of this type gets the next one
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
            # A signal may have reached one rank only, but all must stop after the same iteration.
            first = min((k for each in ranks.gather(stops) for k in each), default=None)
            if first is not None:
                result.stopped_by = callbacks[first]
            if solver.monotone:
                previous = _check_descent(result.history, previous, solver)
    finally:
        result.state, result.network = state, network_of(solver, state)
        with ExitStack() as ends:  # calls all of them in order, even if one raises
            for callback in reversed(started):
                ends.callback(callback.on_end, result)
    return result


class DescentWarning(RuntimeWarning):
    """The objective rose by more than rounding can explain."""


def _check_descent(history: list[Record], previous: float, solver: Solver) -> float:
    """Check that F is finite and did not rise; return it, or `previous` if it was not measured."""
    record, first = history[-1], history[0].get("objective", 0.0)
    objective = record.get("objective")
    if objective is None:
        return previous
    if not np.isfinite(objective):
        raise FloatingPointError(
            f"objective is {objective} after iteration {record['iteration']}: the data's scale is "
            f"too large for {solver.dtype}; scale the inputs or use float64"
        )
    # F is a sum of squares. Below (10 eps)^2 of its first value it is only rounding and may rise.
    if objective > previous * (1 + 1e-6) + (10 * np.finfo(solver.dtype).eps) ** 2 * first:
        warn(
            f"objective rose from {previous:.9g} to {objective:.9g} in iteration "
            f"{record['iteration']}: rounding in {solver.dtype}; use float64, or a larger alpha",
            DescentWarning,
            stacklevel=3,
        )
    return objective
