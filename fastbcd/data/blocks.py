"""Going through the rows of an array, wherever it lies."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices import pages

# Numbers of a block: 4 MiB in float64.
NUMBERS = 2**19


def rows_of_block(d: int) -> int:
    """How many rows of `d` numbers make a block."""
    return max(1, NUMBERS // max(1, d))


def blocks(X: NDArray[Any], rows: int) -> Iterator[slice]:
    """Slices of at most `rows` rows each that are all of X (n, d), in order.

    Where X is mapped from a file its pages leave memory when the next slice is asked for, so that
    a pass over a file needs no more than a block.
    """
    for start in range(0, len(X), rows):
        part = slice(start, min(start + rows, len(X)))
        yield part
        release(X[part])


def release(array: NDArray[Any]) -> None:
    """Take the pages of a file that `array` is mapped from out of this process's memory.

    Nothing is lost: what was changed is the file's, and what is read again is mapped again.
    """
    if array.flags.c_contiguous:
        pages.release(array)
        return
    # Columns lie together: all pages have some of these rows.
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.mode == "c":
            return  # changes are nowhere else
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
