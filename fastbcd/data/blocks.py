"""Passes over the rows of an array in memory or in a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from fastbcd.devices.storage.pages import release

# A block has so many elements: 4 MiB in float64.
BLOCK_SIZE = 2**19


def rows_of_block(d: int) -> int:
    """Return the number of rows of `d` elements in a block."""
    return max(1, BLOCK_SIZE // max(1, d))


def blocks(X: NDArray[Any], rows: int) -> Iterator[slice]:
    """Yield slices of at most `rows` rows each that cover X (n, d), in order.

    If X is mapped from a file, the pages of a slice leave memory when the next one is requested,
    so that a pass over a file needs the memory of one block.
    """
    for start in range(0, len(X), rows):
        part = slice(start, min(start + rows, len(X)))
        yield part
        release(X[part])


__all__ = ["BLOCK_SIZE", "blocks", "release", "rows_of_block"]
