"""Processor seconds of the blocks of an iteration, summed over threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Laps = Callable[[str, int], None]
"""``lap(kind, l)``: the time since the last call counts for block ``kind_l``."""


class BlockClock:
    """Seconds of the blocks of the last iteration; `State.clock` holds one if they are measured.

    A solver's `step` empties it first. Seconds are processor time, as in `time.thread_time`: two
    busy threads use two of them in a second, and a waiting thread uses none.

    Attributes
    ----------
    blocks : dict
        ``(kind, l)`` -> seconds of block V_l, U_l or W_l.
    """

    def __init__(self) -> None:
        self.blocks: dict[tuple[str, int], float] = {}
        self.total = 0.0
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget the last iteration."""
        self.blocks.clear()
        self.total = 0.0

    def add(self, kind: str, l: int, seconds: float) -> None:
        """Count `seconds` for block ``kind_l``; threads may call this at once."""
        with self._lock:
            self.blocks[kind, l] = self.blocks.get((kind, l), 0.0) + seconds
            self.total += seconds

    def seconds(self, kind: str) -> float | None:
        """Seconds of the blocks V, U or W of all layers; None if there was no such block."""
        of_kind = [seconds for (name, _), seconds in self.blocks.items() if name == kind]
        return sum(of_kind) if of_kind else None


def laps(clock: BlockClock | None) -> Laps:
    """A lap counter for the calling thread; without a clock it does nothing."""
    if clock is None:
        return _ignore
    start = time.thread_time()

    def lap(kind: str, l: int) -> None:
        nonlocal start
        now = time.thread_time()
        clock.add(kind, l, now - start)
        start = now

    return lap


def laps_of_all_threads(clock: BlockClock | None) -> Laps:
    """A lap counter for the whole process, without the time that threads counted themselves.

    The thread that distributes work uses it, so nothing is counted twice and the last lap gets
    the rest. Work that the program does beside training counts, too.
    """
    if clock is None:
        return _ignore
    start = time.process_time() - clock.total

    def lap(kind: str, l: int) -> None:
        nonlocal start
        now = time.process_time()
        # The two kinds of clocks agree to within a tick.
        clock.add(kind, l, max(now - clock.total - start, 0.0))
        start = now - clock.total

    return lap


def _ignore(kind: str, l: int) -> None:
    pass
