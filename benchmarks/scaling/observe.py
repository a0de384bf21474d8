"""Measure an iteration from within: messages of each rank, their time, and computing time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from suite.iteration import random_classes

from fastbcd import Problem, ThreeSplitting
from fastbcd.devices.ranks import Ranks

from .hosts import SENT


@dataclass
class Traffic:
    """Bytes and seconds of the collective operations of a `Watched`."""

    bytes: int = 0
    seconds: float = 0.0
    """From the moment all ranks are there."""
    calls: int = 0


class Watched:
    """Ranks whose sums and shared rows are counted and timed; all else goes through."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.clear()

    def clear(self) -> None:
        """Forget what was counted."""
        self.sums, self.rows_sent = Traffic(), Traffic()
        self.busy = self.waiting = 0.0
        """Processor seconds between messages; seconds by the clock until all ranks were there."""
        self._resumed = time.process_time()

    def sum(self, array: np.ndarray) -> None:
        """As for `Ranks`."""
        self._timed(self.sums, self._ranks.sum, array)

    def share_rows(self, array: np.ndarray) -> None:
        """As for `Ranks`."""
        self._timed(self.rows_sent, self._ranks.share_rows, array)

    def pause(self) -> None:
        """Computing ends here: what follows is counted as a message, or not at all."""
        self.busy += time.process_time() - self._resumed

    def _timed(self, traffic: Traffic, operation: Any, array: np.ndarray) -> None:
        self.pause()
        arrived = time.perf_counter()
        self._ranks.max(np.zeros(1))
        start = time.perf_counter()
        operation(array)
        traffic.seconds += time.perf_counter() - start
        traffic.bytes += array.nbytes
        traffic.calls += 1
        self.waiting += start - arrived
        self._resumed = time.process_time()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ranks, name)


@dataclass(frozen=True)
class Observation:
    """Seconds of one iteration on the slowest rank, the shortest of some iterations.

    Interruptions only ever add to a time.
    """

    clock: float
    busy: float
    """Processor time between messages, per thread."""
    waiting: float
    """For the slowest rank, by the rank that waited longest."""
    all_reduce: float
    gather: float
    sent: float
    """Bytes on the wire, by the rank that sent most; 0 where it is no host of `scaling.hosts`."""


def observe(
    widths: Sequence[int], n: int, n_threads: int, comm: Any = None, iterations: int = 3
) -> Observation:
    """Iterations after the first, of `n` random samples in all; the same on all ranks."""
    solver = ThreeSplitting(Problem(tuple(widths)), n_threads=n_threads, comm=comm)
    rows = solver.rows(n)
    X, Y = random_classes(tuple(widths), n)
    watched = solver.device.ranks = Watched(solver.device.ranks)  # type: ignore[assignment]
    state = solver.step(solver.init(X[rows], Y[rows]))
    found = []
    for _ in range(iterations):
        watched.max(np.zeros(1))
        watched.clear()
        sent = _sent()
        start = time.perf_counter()
        solver.step(state)
        watched.pause()
        clock = time.perf_counter() - start
        own = (clock, watched.busy / n_threads, watched.waiting)
        messages = (watched.sums.seconds, watched.rows_sent.seconds)
        slowest = np.array([*own, *messages, _sent() - sent])
        watched.max(slowest)
        found.append(slowest)
    return Observation(*np.min(found, axis=0).tolist())


def _sent() -> int:
    return int(SENT.read_text()) if SENT.exists() else 0
