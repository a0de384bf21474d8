"""A child of `fork` renews objects whose locks other threads held, or whose threads it lacks."""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """An object with locks, threads, or memory that other threads change."""

    def renew_after_fork(self) -> None:
        """Make the object usable in a child of `fork`, where only the forking thread runs."""


_OBJECTS: WeakSet[Renewable] = WeakSet()


def renew_in_children(renewable: Renewable) -> None:
    """Make each later child of `fork` call ``renewable.renew_after_fork()``."""
    _OBJECTS.add(renewable)


class ForkSafeLock:
    """A reentrant lock that is free in a child of `fork`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        renew_in_children(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def renew_after_fork(self) -> None:
        """Replace the lock by a free one."""
        self._lock = threading.RLock()


def _in_child() -> None:
    for renewable in list(_OBJECTS):
        renewable.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
