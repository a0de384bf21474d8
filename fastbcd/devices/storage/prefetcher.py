"""A prefetcher reads tiles from a disk before their use, and writes them back after it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

from fastbcd.devices.storage.pages import Pages
from fastbcd.devices.tiles import AbandonedError, Tile


class Prefetcher:
    """A pass over n rows of some arrays, of which at most `window` tiles are in memory.

    Two threads work beside those that compute: one reads the next tiles, the other writes changes
    in finished tiles and evicts them. An exception in either ends the pass and is raised in the
    caller.

    Parameters
    ----------
    pages : sequence of Pages
        The pages of the arrays.
    n, tile_rows : int
    window : int
        It must exceed the number of threads that compute.
    """

    def __init__(self, pages: Sequence[Pages], n: int, tile_rows: int, window: int) -> None:
        self._pages, self._n, self._tile_rows, self._window = pages, n, tile_rows, window
        self._n_tiles = -(-n // tile_rows)
        self._condition = threading.Condition()
        self._arrived = self._evicted = 0
        self._done: deque[int] = deque()
        self._stopped, self._failure = False, None
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=f"fastbcd-{name}", daemon=True)
            for name, work in (("read", self._read), ("write", self._write))
        ]

    _failure: BaseException | None

    def __enter__(self) -> Prefetcher:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                with self._condition:
                    self._condition.wait_for(
                        lambda: self._evicted == self._n_tiles or self._stopped
                    )
        finally:
            self._stop()
            for thread in self._threads:
                thread.join()
            if self._evicted < self._n_tiles:
                for pages in self._pages:
                    pages.evict(slice(0, self._n))
        if error is None and self._failure is not None:
            raise self._failure

    def around(self, body: Callable[[Tile], None]) -> Callable[[Tile], None]:
        """Wrap `body`: wait until its tile is in memory, and release the tile when it is done."""

        def within(tile: Tile) -> None:
            try:
                self._wait_for(tile.index)
                body(tile)
            except BaseException:
                self._stop()
                raise
            with self._condition:
                self._done.append(tile.index)
                self._condition.notify_all()

        return within

    def _wait_for(self, index: int) -> None:
        with self._condition:
            self._condition.wait_for(lambda: index < self._arrived or self._stopped)
            if self._failure is not None:
                raise self._failure
            if self._stopped:
                raise AbandonedError

    def _stop(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._failure = error
            self._stop()

    def _rows(self, index: int) -> slice:
        return slice(index * self._tile_rows, min(self._n, (index + 1) * self._tile_rows))

    def _read(self) -> None:
        requested = 0
        for index in range(self._n_tiles):
            with self._condition:
                while not (index < self._evicted + self._window or self._stopped):
                    self._condition.wait()
                if self._stopped:
                    return
                end = min(self._evicted + self._window, self._n_tiles)
            while requested < end:
                for pages in self._pages:
                    pages.prefetch(self._rows(requested))
                requested += 1
            for pages in self._pages:
                pages.fetch(self._rows(index))
            with self._condition:
                self._arrived = index + 1
                self._condition.notify_all()

    def _write(self) -> None:
        for _ in range(self._n_tiles):
            with self._condition:
                self._condition.wait_for(lambda: self._done or self._stopped)
                if not self._done:
                    return
                rows = self._rows(self._done.popleft())
            for pages in self._pages:
                pages.write(rows)
                pages.evict(rows)
            with self._condition:
                self._evicted += 1
                self._condition.notify_all()
