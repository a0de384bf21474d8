"""The one place that holds Numba's options; no other file uses a bare ``njit``."""

from __future__ import annotations

import os
from typing import Any

from numba import njit
from numba.core.compiler_lock import global_compiler_lock

from fastbcd.kernels.cache import KernelCache
from fastbcd.kernels.plain import PLAIN, plain

# Everything that fastmath offers except `nnan` and `ninf`: sums may be
# reassociated (so they vectorise), but NaN and infinity keep their meaning.
FASTMATH = {"reassoc", "contract", "nsz", "arcp"}

# If another thread were compiling during a `fork`, the child could never compile. So the fork
# waits for the compiler's lock, as it waits for Python's own locks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )

# error_model="numpy": a division yields inf or NaN. A branch that raises instead
# would stop a loop from vectorising.


def scalar(function: Any) -> Any:
    """Compile a scalar formula, to be called from kernels, on a CPU or a GPU.

    It has no cache of its own: each kernel that calls it holds an inlined copy.
    """
    return _compile(function, fastmath=FASTMATH)


def straight(function: Any) -> Any:
    """Compile a scalar formula without branches that is always inlined.

    A loop that calls only such formulas becomes vector instructions. If LLVM did not
    inline a long formula, the loop would stay scalar, ten times slower.
    """
    return _compile(function, fastmath=FASTMATH, forceinline=True)


def straight_in_order(function: Any) -> Any:
    """`straight` without reordering of sums, for numbers that are held in two parts."""
    return _compile(function, fastmath=FASTMATH - {"reassoc"}, forceinline=True)


def kernel(function: Any) -> Any:
    """Compile a kernel: serial, without the interpreter lock, cached on disk.

    Kernels are serial because parallelism lies one level up: each thread works
    on a tile of samples of its own, so no kernel ever waits at a barrier and
    a result does not depend on the number of threads.
    """
    return _compile(function, cached=True, nogil=True, fastmath=FASTMATH)


def kernel_in_order(function: Any) -> Any:
    """`kernel` without reordering of sums, for numbers that are held in two parts."""
    return _compile(function, cached=True, nogil=True)


def _compile(function: Any, cached: bool = False, **options: Any) -> Any:
    """Compile where Numba compiles; `KernelCache` keeps machine code that is `cached`."""
    options["error_model"] = "numpy"
    if PLAIN:
        return plain(function, options)
    dispatcher = njit(**options)(function)
    if cached:  # in place of the cache of `njit(cache=True)`
        dispatcher._cache = KernelCache(function)
    return dispatcher
