"""What a child of `fork` makes anew: locks that other threads held, threads that it lacks."""

from __future__ import annotations

import os
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


def _in_child() -> None:
    for renewable in list(_OBJECTS):
        renewable.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
