"""The number of threads, and the limit of one BLAS thread while threads of this package work."""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from fastbcd.devices.processors import available_processors
from fastbcd.kernels.library import LIBRARY, openblas_function, scipy_openblas
from fastbcd.kernels.streams import warn
from fastbcd.support.forks import renew_in_children
from fastbcd.support.parameters import require_integer


@cache
def _libraries() -> tuple[Any, ...]:
    # Cached, because finding the loaded libraries takes a millisecond. NumPy's and SciPy's BLAS
    # are loaded before any kernel exists.
    found = list(ThreadpoolController().select(user_api="blas").lib_controllers)
    file = scipy_openblas()
    if file is not None and not any(os.path.samefile(file, known.filepath) for known in found):
        found.append(_OpenBlas(file))  # early versions of threadpoolctl do not find it
    return tuple(found)


class _OpenBlas:
    """SciPy's OpenBLAS, with the attributes of a library of `ThreadpoolController`."""

    internal_api, threading_layer = "openblas", "pthreads"

    def __init__(self, filepath: str) -> None:
        self.filepath = filepath

    @property
    def num_threads(self) -> int:
        return int(openblas_function(ctypes.CDLL(self.filepath), "get_num_threads")())


def _set_count(library: Any, count: int) -> None:
    """Let `library` use `count` threads; any thread may call this."""
    if library.internal_api == "openblas" and not _counts_per_thread(library):
        # threadpoolctl 3.8 has no effect here if another thread set a limit first.
        openblas_function(ctypes.CDLL(library.filepath), "set_num_threads")(count)
    else:
        library.set_num_threads(count)


def _counts_per_thread(library: Any) -> bool:
    """Whether each calling thread has its own number of BLAS threads, as with OpenMP."""
    return getattr(library, "threading_layer", None) == "openmp"


class BlasLimit:
    """A context in which the process's BLAS libraries use one thread.

    Several threads may be in it at once: the first to enter sets the limit, and the last to leave
    restores it. Libraries with a number per calling thread are limited and restored in each.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: list[tuple[Any, int]] = []
        self._of_this_thread = threading.local()

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                shared = [library for library in _libraries() if not _counts_per_thread(library)]
                self._before = [(library, library.num_threads) for library in shared]
                for library in shared:
                    _set_count(library, 1)
            self._users += 1
        stack = self._of_this_thread.__dict__.setdefault("stack", [])
        stack.append(self.limit_this_thread())

    def __exit__(self, *exception: object) -> None:
        for library, count in self._of_this_thread.stack.pop():
            _set_count(library, count)
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._restore()

    def _restore(self) -> None:
        for library, count in self._before:
            _set_count(library, count)
        self._before = []

    def limit_this_thread(self) -> list[tuple[Any, int]]:
        """Limit the libraries with a number per calling thread; return their numbers before."""
        own = [library for library in _libraries() if _counts_per_thread(library)]
        before = [(library, library.num_threads) for library in own]
        for library in own:
            _set_count(library, 1)
        return before

    def usual(self) -> list[int]:
        """Return the numbers of threads that all libraries would use without this limit."""
        with self._lock:
            before = {id(library): count for library, count in self._before}
        return [before.get(id(library), library.num_threads) for library in _libraries()]

    def renew_after_fork(self) -> None:
        """Lift the limit, because the child lacks the threads that needed it."""
        self._lock, self._users = threading.Lock(), 0
        self._of_this_thread = threading.local()
        self._restore()


BLAS_LIMIT = BlasLimit()


class _SerialBlas:
    """Counts the users of kernels, and limits BLAS if kernels call that of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
        if not LIBRARY.own:
            BLAS_LIMIT.__enter__()

    def __exit__(self, *exception: object) -> None:
        if not LIBRARY.own:
            BLAS_LIMIT.__exit__()
        with self._lock:
            self._users -= 1

    def renew_after_fork(self) -> None:
        """Load BLAS anew if a thread was in it, because that thread may have held a lock of it."""
        self._lock = threading.Lock()
        if self._users > 0:
            self._users = 0
            LIBRARY.renew()


_SERIAL_BLAS = _SerialBlas()
renew_in_children(BLAS_LIMIT)
renew_in_children(_SERIAL_BLAS)


def serial_blas() -> AbstractContextManager[None]:
    """Return a context in which each product of a kernel uses one thread.

    Usually kernels call a BLAS of their own (`fastbcd.kernels.library`), which never uses more
    threads, and nothing changes in the process. If they call the process's BLAS, that is limited
    to one thread while any thread is in the context.
    """
    return _SERIAL_BLAS


def start_of_thread() -> None:
    """Prepare a new thread to work within `serial_blas`."""
    if not LIBRARY.own:
        BLAS_LIMIT.limit_this_thread()


class OversubscriptionWarning(RuntimeWarning):
    """More threads will run than processors are available."""


def resolve_threads(n_threads: int | None, n_processes: int = 1) -> int:
    """Return `n_threads`, or by default as many as BLAS would use.

    So the default obeys ``OMP_NUM_THREADS`` and similar variables, and the limits that joblib sets
    in its workers. It is at most this process's share of `available_processors`, of which
    `n_processes` have equal shares. Too large a number causes one warning per process.
    """
    usual = BLAS_LIMIT.usual()
    if n_threads is None:
        part = max(1, available_processors() // n_processes)
        return min(max(usual, default=1), part)
    n_threads = require_integer(n_threads, "n_threads", at_least=1)
    if n_threads > available_processors():
        _warn_once(
            f"n_threads={n_threads}, but this process may use {available_processors()} processors: "
            "threads will wait for each other; leave n_threads out, or lower it"
        )
    elif n_threads > 1 and not usual and not LIBRARY.own:
        _warn_once(
            f"n_threads={n_threads}, and SciPy's BLAS is one whose own threads cannot be limited "
            "from here: they come on top; set OMP_NUM_THREADS=1 before Python starts"
        )
    return n_threads


_warned = False


def _warn_once(message: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        # The warning shows the line that made the solver.
        warn(message, OversubscriptionWarning, stacklevel=7)
