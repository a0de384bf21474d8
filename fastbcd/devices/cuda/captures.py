"""Captures of CUDA graphs take turns with waits for the whole device and releases of resources.

CUDA gives up a capture if any thread of the process waits for the device. The release of a cuBLAS
handle or of memory does that silently. Python may collect such objects at any moment, and several
networks may train in threads of one process. Hence one object controls all of them.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Captures:
    """Captures, waits for the device and releases take turns; a release never waits for its turn.

    One instance serves the process: `captures`.
    """

    def __init__(self) -> None:
        self._turn = threading.RLock()
        self._capturing = False
        self._postponed: list[Callable[[], Any]] = []

    @contextmanager
    def capture(self) -> Iterator[None]:
        """A context in which a graph is captured; releases meanwhile are postponed to its end."""
        with self._turn:
            self._capturing = True
            try:
                yield
            finally:
                self._capturing = False
                while self._postponed:
                    self._postponed.pop()()

    @contextmanager
    def no_capture(self) -> Iterator[None]:
        """A context without captures, in which a wait for the whole device is allowed."""
        with self._turn:
            yield

    def release(self, action: Callable[[], Any]) -> None:
        """Call ``action()`` now, or at the end of the current capture."""
        # The garbage collector calls this, possibly within a capture of this thread. It must not
        # wait for a capture of another thread.
        if self._turn.acquire(blocking=False):
            try:
                if not self._capturing:
                    action()
                    return
            finally:
                self._turn.release()
        self._postponed.append(action)

    def release_with(self, owner: Any, action: Callable[[], Any]) -> None:
        """Call `release` with `action` once `owner` is collected.

        It is not called at the end of the process, when the driver and its resources are gone.
        """
        weakref.finalize(owner, self.release, action).atexit = False


captures = Captures()
"""The instance of this process."""
