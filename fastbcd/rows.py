"""Some rows at a time of arrays that may be on a graphics card, or in files larger than memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

# How NumPy maps a file so that all changes go to it; not so with "c", copy on write.
SHARED = ("r", "r+", "w+")


@contextmanager
def taken(device: Any, array: Any, rows: slice) -> Iterator[NDArray[Any]]:
    """Rows of an `array` of `device` as a NumPy array; what was read for it need not stay."""
    yield device.numpy(array[rows])
    _release(array[rows])


def put(device: Any, array: Any, rows: slice, block: NDArray[Any]) -> None:
    """``array[rows] = block`` for an `array` of `device`; what was written need not stay."""
    array[rows] = device.array(block, array.dtype)
    _release(array[rows])


def _release(rows: Any) -> None:
    """Give back the memory of contiguous `rows` of a `numpy.memmap`; the file keeps them.

    The system would do so when it needs memory; until then it counts them as this process's.
    """
    mapped = rows
    while isinstance(mapped, np.ndarray) and not isinstance(mapped, np.memmap):
        mapped = mapped.base
    if not isinstance(mapped, np.memmap) or mapped.mode not in SHARED:
        return
    memory: Any = mapped
    while isinstance(memory, np.ndarray):
        memory = memory.base
    if isinstance(memory, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") and rows.flags.c_contiguous:
        start = rows.ctypes.data - np.frombuffer(memory, np.uint8, 1).ctypes.data
        whole_pages = start - start % mmap.PAGESIZE
        memory.madvise(mmap.MADV_DONTNEED, whole_pages, start - whole_pages + rows.nbytes)
