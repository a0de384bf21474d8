"""Numba's simulator, whose threads of a block run one at a time and in a known order.

The simulator starts a Python thread for each thread of a block and polls all of them in a loop,
which costs several times as much as their work. Here each thread runs until it waits for the others
or ends, and the next one follows. After each barrier the order is turned round, and every other
block begins with the last thread. So each phase of a kernel sees both orders, and in one of them a
kernel with a missing barrier reads what has not been written yet.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from threading import Semaphore
from typing import Any

import numpy as np
from numba.cuda.simulator import kernel
from numba.cuda.simulator.kernelapi import FakeCUDAShared
from numba.np import numpy_support

DIRECTIONS = itertools.cycle((1, -1))
"""In which order the threads of the next block begin."""


class Thread(kernel.BlockThread):
    """A thread of a block; it computes only inside `take_turn`."""

    def __init__(self, function: Callable[[], None], block: Any, *place: Any) -> None:
        super().__init__(function, block, *place)
        self.turn, self.rest = Semaphore(0), Semaphore(0)
        self.waits = False  # at a barrier, rather than ended

    def run(self) -> None:
        """Run the kernel."""
        super().run()
        self.waits = False
        self.rest.release()

    def syncthreads(self) -> None:
        """Wait until all threads of the block are here."""
        self.waits = True
        self.rest.release()
        self.turn.acquire()
        if self.abort:
            raise RuntimeError("another thread of the block failed")

    def take_turn(self) -> None:
        """Compute up to the next barrier, or to the end."""
        if self.ident is None:
            self.start()
        else:
            self.turn.release()
        self.rest.acquire()


def run_block(self: Any, grid_point: tuple[int, ...], *arguments: Any) -> None:
    """Run the threads of a block, one at a time; raise the first exception of one."""

    def function() -> None:
        self._f(*arguments)

    places = np.ndindex(*self._block_dim)
    alive = [Thread(function, self, grid_point, place, self._debug) for place in places]
    alive = alive[:: next(DIRECTIONS)]
    while alive:
        for thread in alive:
            thread.take_turn()
            if thread.exception:
                end(alive)
                raise thread.exception[0].with_traceback(thread.exception[1])
        alive = [thread for thread in reversed(alive) if thread.waits]


def end(threads: list[Thread]) -> None:
    """End threads that wait at a barrier."""
    for thread in threads:
        if thread.waits:
            thread.abort = True
            thread.take_turn()


def shared_array(self: Any, shape: Any, dtype: Any) -> Any:
    """Return the block's array of the line that asks for it: one array for all of its threads.

    Our kernels have one shared array at a time and wait for their threads before each.
    """
    caller = sys._getframe(1)
    line = caller.f_code.co_filename, caller.f_lineno
    if line not in self._allocations:
        self._allocations[line] = np.empty(shape, numpy_support.as_dtype(dtype))
    return self._allocations[line]


kernel.BlockManager.run = run_block
FakeCUDAShared.array = shared_array
