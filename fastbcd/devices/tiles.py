"""Threads share tiles of samples, and add up sums in the order of the tiles."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from fastbcd.devices.workspace import Workspaces


class _Turns:
    """A queue that lets threads pass one by one, in the order of their tiles."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._next = 0
        self.failed = False

    def wait(self, index: int) -> None:
        """Wait until all tiles before `index` are done."""
        with self._condition:
            self._condition.wait_for(lambda: self._next == index or self.failed)
            if self.failed:
                raise AbandonedError

    def done(self, index: int) -> None:
        """Let the tile after `index` pass."""
        self.wait(index)
        with self._condition:
            self._next = index + 1
            self._condition.notify_all()

    def fail(self) -> None:
        """Release all waiting threads, which then raise `AbandonedError`."""
        with self._condition:
            self.failed = True
            self._condition.notify_all()


class AbandonedError(Exception):
    """Raised in a thread that stops because another one failed; that one's error is reported."""


@dataclass
class Tile:
    """Rows ``start:stop`` of all sample arrays, with the work arrays of its thread."""

    index: int
    rows: slice
    work: Workspaces
    _turns: _Turns

    def wait_for_turn(self) -> None:
        """Wait until all tiles before this one are done.

        Sums that are added up after this call have the same bits on any number of threads. Call it
        as late as possible, because tiles wait for each other from here on.
        """
        self._turns.wait(self.index)


def even_size(n: int, at_most: int) -> int:
    """Return the size of equal parts when `n` is cut into as few parts of `at_most` as possible."""
    return -(-n // -(-n // at_most))


def for_each_tile(
    n: int,
    tile_rows: int,
    body: Callable[[Tile], None],
    workspaces: list[Workspaces],
    pool: ThreadPoolExecutor | None,
) -> None:
    """Call ``body(tile)`` once for each tile of `tile_rows` of `n` rows.

    Each of the `workspaces` belongs to one thread; the first to this one, the others to threads of
    `pool`. An exception in any thread ends the others and is raised here.
    """
    n_tiles = -(-n // tile_rows)
    turns, lock, pending = _Turns(), threading.Lock(), iter(range(n_tiles))

    def work(workspace: Workspaces) -> None:
        try:
            while not turns.failed:
                with lock:
                    index = next(pending, None)
                if index is None:
                    return
                rows = slice(index * tile_rows, min(n, (index + 1) * tile_rows))
                body(Tile(index, rows, workspace, turns))
                turns.done(index)
        except AbandonedError:
            pass
        except BaseException:
            turns.fail()
            raise

    if pool is None or n_tiles == 1:
        work(workspaces[0])
        return
    # This thread works, too, because it is awake already.
    futures: list[Future[None]] = []
    try:
        futures += [pool.submit(work, workspace) for workspace in workspaces[1:n_tiles]]
        work(workspaces[0])
        for future in futures:
            future.result()
    finally:
        # No thread may go on writing after this call ends, not even after Ctrl-C.
        if not all(future.done() for future in futures):
            turns.fail()
            wait(futures)
