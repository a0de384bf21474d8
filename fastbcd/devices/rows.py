"""Some rows at a time of arrays that may be on a graphics card, or in files larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray


@contextmanager
def taken(device: Any, array: Any, rows: slice) -> Iterator[NDArray[Any]]:
    """Rows of an `array` of `device` as a NumPy array; what was read for it need not stay."""
    yield device.numpy(array[rows])
    _done_with(device, array, rows)


def put(device: Any, array: Any, rows: slice, block: NDArray[Any]) -> None:
    """``array[rows] = block`` for an `array` of `device`; what was written need not stay."""
    array[rows] = device.array(block, array.dtype)
    _done_with(device, array, rows)


def _done_with(device: Any, array: Any, rows: slice) -> None:
    start, stop, _ = rows.indices(len(array))
    if start < stop:
        device.storage.done_with(array, slice(start, stop))
