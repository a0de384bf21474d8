"""How many threads, and one-threaded BLAS while our own threads share the work."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from fastbcd.kernels.streams import warn
from fastbcd.specification import require_integer


@cache
def _controller() -> ThreadpoolController:
    # Once: finding the loaded libraries takes a millisecond. NumPy's and SciPy's
    # BLAS are loaded by the time any kernel of ours exists.
    return ThreadpoolController().select(user_api="blas")


class _SerialBlas:
    """The limit is the process's: the first to enter sets it, the last to leave restores it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._limiter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._holders == 0:
                self._limiter = _controller().limit(limits=1)
            self._holders += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                self._limiter.restore_original_limits()


_SERIAL_BLAS = _SerialBlas()


def serial_blas() -> AbstractContextManager[None]:
    """Within the context every BLAS call uses one thread; counts are restored whatever happens."""
    return _SERIAL_BLAS


class OversubscriptionWarning(RuntimeWarning):
    """More threads will run than there are processors for them."""


def resolve_threads(n_threads: int | None, n_processes: int = 1) -> int:
    """`n_threads`, or as many as BLAS would use; warns, once a process, if that is too many.

    The default thereby honours ``OMP_NUM_THREADS`` and its like, the processor
    affinity, and the limits that joblib sets in its workers. It is at most this process's part
    of the processors, where `n_processes` share a machine.
    """
    libraries = _controller().info()
    if n_threads is None:
        usual = max((library["num_threads"] for library in libraries), default=1)
        part = max(1, available_processors() // n_processes)
        return usual if n_processes == 1 else min(usual, part)
    n_threads = require_integer(n_threads, "n_threads", at_least=1)
    if n_threads > available_processors():
        _warn_once(
            f"n_threads={n_threads}, but this process may use {available_processors()} processors: "
            "threads will wait for each other; leave n_threads out, or lower it"
        )
    elif n_threads > 1 and not libraries:
        _warn_once(
            f"n_threads={n_threads}, and SciPy's BLAS is one whose own threads cannot be limited "
            "from here: they come on top; set OMP_NUM_THREADS=1 before Python starts"
        )
    return n_threads


def available_processors() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_warned = False


def _warn_once(message: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        # The line that made the solver.
        warn(message, OversubscriptionWarning, stacklevel=6)
