"""Ctrl-C in a fit: what was learned so far is kept."""

from __future__ import annotations

from typing import Any

from fastbcd.solvers.defaults import AnySolver
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.training.loop import Callback, Result, network_of, run


def run_until_interrupted(
    solver: AnySolver, state: Any, max_iter: int, callbacks: list[Callback]
) -> tuple[Result, bool]:
    """`run`, and whether Ctrl-C ended it: then the result is that of the weights so far.

    Blocks of W are replaced one at a time, so that in the middle of an iteration, too, there is a
    network. `KeyboardInterrupt` where none of them has been.
    """
    result = Result(state, network_of(solver, state), callbacks=callbacks)
    callbacks = [*callbacks, Remember(result)]
    try:
        return run(solver, state, max_iter, callbacks), False
    except KeyboardInterrupt:
        mini_batch = isinstance(solver, MiniBatchThreeSplitting)
        if not (state.batches if mini_batch else state.iteration):
            raise
        return callbacks[-1].result, True


class Remember(Callback):
    """Holds the result of a run that an exception ends, `result` until the run sets it."""

    def __init__(self, result: Result) -> None:
        self.result = result
