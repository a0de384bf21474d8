"""How many threads, and BLAS on one thread each while our own threads share the work."""

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
    # Once: finding the loaded libraries takes a millisecond. NumPy's and SciPy's
    # BLAS are loaded by the time any kernel of ours exists.
    found = list(ThreadpoolController().select(user_api="blas").lib_controllers)
    file = scipy_openblas()
    if file is not None and not any(os.path.samefile(file, known.filepath) for known in found):
        found.append(_OpenBlas(file))  # early versions of threadpoolctl do not know its name
    return tuple(found)


class _OpenBlas:
    """SciPy's OpenBLAS, with what `ThreadpoolController` has for a library."""

    internal_api, threading_layer = "openblas", "pthreads"

    def __init__(self, filepath: str) -> None:
        self.filepath = filepath

    @property
    def num_threads(self) -> int:
        return int(openblas_function(ctypes.CDLL(self.filepath), "get_num_threads")())


def _set_count(library: Any, count: int) -> None:
    """Let `library` use `count` threads, in whichever thread this is called."""
    if library.internal_api == "openblas" and not _has_a_count_a_thread(library):
        # threadpoolctl 3.8 does nothing here if another thread was the first to set a limit.
        openblas_function(ctypes.CDLL(library.filepath), "set_num_threads")(count)
    else:
        library.set_num_threads(count)


def _has_a_count_a_thread(library: Any) -> bool:
    return getattr(library, "threading_layer", None) == "openmp"


class BlasLimit:
    """One thread for the process's BLAS libraries while anyone needs it: one owner for them all.

    The first to enter sets it, the last to leave restores it, in whichever threads they are.
    Libraries that have a number for each thread are set and restored in each.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: list[tuple[Any, int]] = []
        self._of_this_thread = threading.local()

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                shared = [library for library in _libraries() if not _has_a_count_a_thread(library)]
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
        """Limit the libraries that have a number for each thread; returns what they had."""
        own = [library for library in _libraries() if _has_a_count_a_thread(library)]
        before = [(library, library.num_threads) for library in own]
        for library in own:
            _set_count(library, 1)
        return before

    def usual(self) -> list[int]:
        """StepScalars of threads of all libraries, without this limit."""
        with self._lock:
            before = {id(library): count for library, count in self._before}
        return [before.get(id(library), library.num_threads) for library in _libraries()]

    def renew_after_fork(self) -> None:
        """Lift the limit of threads that the child lacks."""
        self._lock, self._users = threading.Lock(), 0
        self._of_this_thread = threading.local()
        self._restore()


BLAS_LIMIT = BlasLimit()


class _SerialBlas:
    """Counts who calls kernels; limits BLAS where these call the process's."""

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
        """Where a thread was within BLAS it may have held a lock of it: take another instance."""
        self._lock = threading.Lock()
        if self._users > 0:
            self._users = 0
            LIBRARY.renew()


_SERIAL_BLAS = _SerialBlas()
renew_in_children(BLAS_LIMIT)
renew_in_children(_SERIAL_BLAS)


def serial_blas() -> AbstractContextManager[None]:
    """Within the context each product of a kernel uses one thread.

    As a rule kernels call a BLAS of their own (`fastbcd.kernels.library`), which never uses more,
    and nothing of the process is changed. Where they call the process's BLAS, that has one thread
    from the first to enter to the last to leave, in whichever threads, whatever happens.
    """
    return _SERIAL_BLAS


def start_of_thread() -> None:
    """What a new thread calls that is to work within `serial_blas`."""
    if not LIBRARY.own:
        BLAS_LIMIT.limit_this_thread()


class OversubscriptionWarning(RuntimeWarning):
    """More threads will run than there are processors for them."""


def resolve_threads(n_threads: int | None, n_processes: int = 1) -> int:
    """`n_threads`, or as many as BLAS would use; warns, once a process, if that is too many.

    The default thereby honours ``OMP_NUM_THREADS`` and its like, and the limits that joblib
    sets in its workers. It is at most this process's part of the processors that it may use
    (`available_processors`), where `n_processes` share a machine.
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
        # The line that made the solver.
        warn(message, OversubscriptionWarning, stacklevel=6)
