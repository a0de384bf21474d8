"""Tiles of samples, shared among threads, with sums added up in the order of the tiles."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from fastbcd.devices.workspace import Workspaces


class _Turns:
    """Lets threads through one by one, in the order of their tiles."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._next = 0
        self.failed = False

    def wait(self, index: int) -> None:
        """Until all tiles before `index` are done."""
        with self._condition:
            self._condition.wait_for(lambda: self._next == index or self.failed)
            if self.failed:
                raise AbandonedError

    def done(self, index: int) -> None:
        """Let the tile after `index` through."""
        self.wait(index)
        with self._condition:
            self._next = index + 1
            self._condition.notify_all()

    def fail(self) -> None:
        """Release all who wait; they give up."""
        with self._condition:
            self.failed = True
            self._condition.notify_all()


class AbandonedError(Exception):
    """Another thread failed; its exception is the one to report."""


@dataclass
class Tile:
    """Rows ``start:stop`` of all sample arrays, and what its thread may use for them."""

    index: int
    rows: slice
    work: Workspaces
    _turns: _Turns

    def wait_for_turn(self) -> None:
        """Return once all tiles before this one are done.

        Sums added up behind this line are the same to the last bit, however many threads
        there are. Put it last: tiles wait for each other from here on.
        """
        self._turns.wait(self.index)


def even_size(n: int, at_most: int) -> int:
    """Size of the fewest parts of n of `at_most` each, as equal as they can be."""
    return -(-n // -(-n // at_most))


def for_each_tile(
    n: int,
    tile_rows: int,
    body: Callable[[Tile], None],
    workspaces: list[Workspaces],
    pool: ThreadPoolExecutor | None,
) -> None:
    """Call ``body(tile)`` once for each tile of n rows, on one thread for each of `workspaces`.

    An exception in any thread ends the others and is raised here.
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
    # This thread works, too: it is awake already.
    futures: list[Future[None]] = []
    try:
        futures += [pool.submit(work, workspace) for workspace in workspaces[1:n_tiles]]
        work(workspaces[0])
        for future in futures:
            future.result()
    finally:
        # After Ctrl-C here, too, no thread may go on writing behind the caller's back.
        if not all(future.done() for future in futures):
            turns.fail()
            wait(futures)
