"""What `partial_fit` goes on from: a state, and the parameters that it began with."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastbcd.callbacks import Progress
from fastbcd.checkpoints.checkpoint import describe
from fastbcd.errors import InputError
from fastbcd.estimators.solvers import make_solver
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.solvers.mini_batch.settings import USUAL_BATCH
from fastbcd.solvers.mini_batch.state import MiniBatchState
from fastbcd.training.loop import Result

# A solver's or a problem's name of what estimators call otherwise.
NAMES = {
    "widths": "hidden_layer_sizes",
    "activations": "activation",
    "weight_penalties": "weight_penalty",
}


def stream_solver(parameters: dict[str, Any], n_features: int, n_outputs: int) -> Any:
    """The solver of a stream: all but the step size as for batches of `batch_size`, or 500.

    The step size, unless it is given, follows in each call from the size of its batches.
    """
    given = parameters["batch_size"]
    batch_size = USUAL_BATCH if given is None else given
    solver = make_solver(
        *(parameters, n_features, n_outputs, batch_size),
        batch_size=batch_size,
        schedule="constant",
    )
    assert isinstance(solver, MiniBatchThreeSplitting)
    settings = solver.settings(batch_size)
    solver.momentum, solver.damping = settings.momentum, settings.damping
    solver.rank = settings.rank
    return solver


class Stream:
    """The state of a stream, none of its samples kept, and what must stay as it was.

    Parameters
    ----------
    state : MiniBatchState
        As `MiniBatchThreeSplitting.init` gave it; its samples are forgotten.
    solver : MiniBatchThreeSplitting
        Of the first call.
    preprocess : str
        Of the first call.
    """

    def __init__(self, state: MiniBatchState, solver: Any, preprocess: str) -> None:
        # Not a part of the samples: a view would keep them all, and a pickle a row of them.
        state.X = np.zeros((1, state.X.shape[1]), state.X.dtype)
        state.Y = np.zeros((1, state.Y.shape[1]), state.Y.dtype)
        state.sample_weight = None
        self.state = state
        self._began_with = self._described(solver, preprocess)

    def check(self, solver: Any, preprocess: str) -> None:
        """`InputError` where `solver` or `preprocess` are not those of the first call."""
        for name, now in self._described(solver, preprocess).items():
            before = self._began_with[name]
            if now != before:
                name = name.removeprefix("problem.")
                raise InputError(
                    f"{NAMES.get(name, name)}: it was {before} in the first partial_fit, and is "
                    f"{now} now; a stream keeps it: set it back, or begin anew, with fit or a "
                    "clone"
                )

    @staticmethod
    def _described(solver: Any, preprocess: str) -> dict[str, Any]:
        words = describe(solver, None)
        del words["problem.rho"]  # that of full batches; this solver has its own
        return words | {"dtype": solver.dtype.name, "preprocess": preprocess}


class CallProgress:
    """Shows how a call of `partial_fit` went, as `Progress` an iteration; made before the call."""

    def __init__(self, solver: Any, state: MiniBatchState) -> None:
        self._solver, self._state, self._callback = solver, state, Progress()
        self._start = time.perf_counter()
        self._callback.on_start(solver, state, state.iteration + 1)

    def done(self, result: Result) -> None:
        """After the call; `result` has one record."""
        record = {**result.history[-1], "seconds": time.perf_counter() - self._start}
        self._callback.on_iteration(self._solver, self._state, record)
        self._callback.on_end(result)
