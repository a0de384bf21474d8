"""Callback that measures the processor time of the blocks."""

from __future__ import annotations

from typing import Any

from fastbcd.training.clock import BlockClock
from fastbcd.training.loop import Callback, Record, Result, Solver


class BlockTimes(Callback):
    """Adds ``seconds_V``, ``seconds_U``, ``seconds_W``: processor seconds of this iteration.

    They are summed over layers, threads and ranks, so with n busy threads they add up to n times
    the seconds of the iteration. Waiting does not count. The first iteration of a process includes
    compiling or loading the kernels.

    .. code-block:: text

        seconds_V    V_l, with the factorisation of its solve; in two-splitting V^_{l-1} W_l^T, too
        seconds_U    V^_{l-1} W_l^T and U_l; missing in two-splitting, which has no U_l
        seconds_W    the sums over samples that W_l needs, its solve, and all that is left

    On mini-batches V is reading the batch and the updates of V_l, U is the forward pass and the
    updates of U_l, and W is the metrics and the weights. Shuffling and handing work to threads
    count for no block.
    """

    columns = ("seconds_V", "seconds_U", "seconds_W")

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        self._state, self._clock_before = state, state.clock
        if state.clock is None:
            state.clock = BlockClock()

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> None:
        ranks = solver.device.ranks
        own = [state.clock.seconds(name[-1]) for name in self.columns]
        for name, all_ranks in zip(self.columns, zip(*ranks.gather(own), strict=True), strict=True):
            # A rank without samples may have no such block.
            seconds = [s for s in all_ranks if s is not None]
            if seconds:
                record[name] = sum(seconds)

    def on_end(self, result: Result) -> None:
        self._state.clock = result.state.clock = self._clock_before
