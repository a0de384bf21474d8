"""The stream of `partial_fit`: its state, and the parameters of the first call."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from fastbcd.callbacks import Progress
from fastbcd.checkpoints.checkpoint import describe
from fastbcd.errors import InputError
from fastbcd.estimators.solvers import make_solver
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.solvers.mini_batch.settings import USUAL_BATCH
from fastbcd.solvers.mini_batch.state import MiniBatchState
from fastbcd.training.loop import Result, network_of

# Names of solvers and problems, and the estimators' names for the same parameters.
NAMES = {
    "widths": "hidden_layer_sizes",
    "activations": "activation",
    "weight_penalties": "weight_penalty",
}


def stream_solver(parameters: dict[str, Any], n_features: int, n_outputs: int) -> Any:
    """Make the solver of a stream, with settings for batches of `batch_size`, by default 500.

    Only the step size, unless it is given, follows in each call from the size of its batches.
    """
    given = parameters["batch_size"]
    batch_size = USUAL_BATCH if given is None else given
    solver = make_solver(
        parameters | {"batch_size": batch_size, "schedule": "constant"},
        n_features,
        n_outputs,
        samples=batch_size,
    )
    assert isinstance(solver, MiniBatchThreeSplitting)
    settings = solver.settings(batch_size)
    solver.momentum, solver.damping = settings.momentum, settings.damping
    solver.rank = settings.rank
    return solver


class Stream:
    """The state of a stream without its samples, and the parameters that must not change.

    Parameters
    ----------
    state : MiniBatchState
        A new state of `MiniBatchThreeSplitting.init`, whose samples are removed.
    solver : MiniBatchThreeSplitting
        Solver of the first call.
    preprocess : str
        Parameter of the first call.
    """

    def __init__(self, state: MiniBatchState, solver: Any, preprocess: str) -> None:
        # No part of the samples: a view would keep all in memory, and a pickle would show some.
        state.X = np.zeros((1, state.X.shape[1]), state.X.dtype)
        state.Y = np.zeros((1, state.Y.shape[1]), state.Y.dtype)
        state.sample_weight = None
        self.state = state
        self._began_with = self._described(solver, preprocess)

    def check(self, solver: Any, preprocess: str) -> None:
        """Raise an `InputError` if `solver` or `preprocess` differ from those of the first call."""
        for name, now in self._described(solver, preprocess).items():
            before = self._began_with.get(name)
            if now != before:
                name = name.removeprefix("problem.")
                raise InputError(
                    f"{NAMES.get(name, name)}: it was {before} in the first partial_fit, and is "
                    f"{now} now, but must stay the same: set it back, or begin anew, with fit or a "
                    "clone"
                )

    def end_of_call(self, solver: Any) -> Result:
        """Count a call of `partial_fit` as an iteration, and return its result."""
        state = self.state
        total, samples = state.batch_loss
        state.batch_loss, state.iteration = None, state.iteration + 1
        history = [{"iteration": state.iteration, "batch_loss": float(total / samples)}]
        return Result(state, network_of(solver, state), history)

    @staticmethod
    def _described(solver: Any, preprocess: str) -> dict[str, Any]:
        words = describe(solver, None)
        if solver.augment is not None:  # its padding follows the scaling, which may change
            words["augment"] = repr(replace(solver.augment, padding=0.0))
        del words["problem.rho"]  # the one of full batches; this solver has its own
        return words | {"dtype": solver.dtype.name, "preprocess": preprocess}


class CallProgress:
    """Reports a call of `partial_fit` by `Progress`, as an iteration; make it before the call."""

    def __init__(self, solver: Any, state: MiniBatchState) -> None:
        self._solver, self._state, self._callback = solver, state, Progress()
        self._start = time.perf_counter()
        self._callback.on_start(solver, state, state.iteration + 1)

    def done(self, result: Result) -> None:
        """Report the one record of `result` after the call."""
        record = {**result.history[-1], "seconds": time.perf_counter() - self._start}
        self._callback.on_iteration(self._solver, self._state, record)
        self._callback.on_end(result)
