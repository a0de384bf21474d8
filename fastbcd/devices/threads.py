"""How many threads, and one-threaded BLAS while our own threads share the work."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

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


def resolve_threads(n_threads: int | None) -> int:
    """`n_threads`, or as many as BLAS would use.

    The default thereby honours ``OMP_NUM_THREADS`` and its like, the processor
    affinity, and the limits that joblib sets in its workers.
    """
    if n_threads is not None:
        return require_integer(n_threads, "n_threads", at_least=1)
    return max((library["num_threads"] for library in _controller().info()), default=1)
