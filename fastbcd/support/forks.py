"""What a child of `fork` makes anew: locks that other threads held, threads that it lacks."""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """Has locks, threads, or memory that other threads change."""

    def renew_after_fork(self) -> None:
        """Called in a child of `fork`, where only the thread that forked goes on."""


_OBJECTS: WeakSet[Renewable] = WeakSet()


def renew_in_children(renewable: Renewable) -> None:
    """From now on each child of `fork` calls ``renewable.renew_after_fork()``."""
    _OBJECTS.add(renewable)


class ForkSafeLock:
    """A lock that one thread may take several times, and that is free in a child of `fork`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        renew_in_children(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def renew_after_fork(self) -> None:
        """A free lock."""
        self._lock = threading.RLock()


def _in_child() -> None:
    for renewable in list(_OBJECTS):
        renewable.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
