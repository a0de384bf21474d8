"""After Ctrl-C a fit keeps the weights so far."""

from __future__ import annotations

from typing import Any

from fastbcd.solvers.defaults import AnySolver
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.training.loop import Callback, Result, network_of, run


def run_until_interrupted(
    solver: AnySolver, state: Any, max_iter: int, callbacks: list[Callback]
) -> tuple[Result, bool]:
    """Call `run`; return the result, after Ctrl-C that of the weights so far, and whether it came.

    Blocks of W are replaced one at a time, so that there is a network in the middle of an
    iteration, too. Before the first of them is replaced, Ctrl-C is a `KeyboardInterrupt`.
    """
    result = Result(state, network_of(solver, state), callbacks=callbacks)
    callbacks = [*callbacks, KeepResult(result)]
    try:
        return run(solver, state, max_iter, callbacks), False
    except KeyboardInterrupt:
        mini_batch = isinstance(solver, MiniBatchThreeSplitting)
        if not (state.batches if mini_batch else state.iteration):
            raise
        return callbacks[-1].result, True


class KeepResult(Callback):
    """Holds the `result` of a run, which the run replaces even if an exception ends it."""

    def __init__(self, result: Result) -> None:
        self.result = result
