"""What must not happen while a CUDA graph is captured: a wait for the whole device, a release.

CUDA gives a capture up when anybody in the process waits for the device, and giving back a handle
of cuBLAS or memory does that without saying so. Python may collect such objects at any moment, and
several networks may train in threads of one process. Hence one owner for all of them.
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
        """A graph is captured within the context; what was to be released meanwhile goes after."""
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
        """Within the context nothing is captured: the whole device may be waited for."""
        with self._turn:
            yield

    def release(self, action: Callable[[], Any]) -> None:
        """Call ``action()``, now or at the end of the capture that is going on."""
        # The garbage collector calls this, maybe from within a capture of this very thread, and
        # must not be kept waiting for one of another thread.
        if self._turn.acquire(blocking=False):
            try:
                if not self._capturing:
                    action()
                    return
            finally:
                self._turn.release()
        self._postponed.append(action)

    def release_with(self, owner: Any, action: Callable[[], Any]) -> None:
        """`release` of `action` once `owner` is collected; never at the end of the process.

        By then the driver has gone, and everything with it.
        """
        weakref.finalize(owner, self.release, action).atexit = False


captures = Captures()
"""Of this process."""
