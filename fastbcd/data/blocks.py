"""Going through the rows of an array, wherever it lies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from fastbcd.devices.storage.pages import release

# StepScalars of a block: 4 MiB in float64.
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


__all__ = ["blocks", "release", "rows_of_block"]
