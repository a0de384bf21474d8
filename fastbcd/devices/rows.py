"""Access to a few rows of an array that may be on a GPU, or in a file larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray


@contextmanager
def taken(device: Any, array: Any, rows: slice) -> Iterator[NDArray[Any]]:
    """Yield `rows` of an `array` of `device` as a NumPy array, then let their memory go."""
    yield device.numpy(array[rows])
    _done_with(device, array, rows)


def put(device: Any, array: Any, rows: slice, block: NDArray[Any]) -> None:
    """Set ``array[rows] = block`` for an `array` of `device`, then let their memory go."""
    array[rows] = device.array(block, array.dtype)
    _done_with(device, array, rows)


def _done_with(device: Any, array: Any, rows: slice) -> None:
    start, stop, _ = rows.indices(len(array))
    if start < stop:
        device.storage.done_with(array, slice(start, stop))
