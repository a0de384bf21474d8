"""The storage of a GPU, where arrays of samples stay in its memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbcd.devices.cuda.library import out_of_memory
from fastbcd.devices.storage.arrays import Storage


class Resident(Storage):
    """The storage of a GPU: like that of the processor, but `allocate` checks the free bytes.

    Parameters
    ----------
    library : Library
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    def allocate(self, shapes: Sequence[tuple[int, ...]], dtype: Any) -> list[Any]:
        """Return arrays with arbitrary contents, or none of them if they do not fit together.

        Then `InputError` names the bytes that are needed and free.
        """
        needed = sum(int(np.prod(shape)) for shape in shapes) * np.dtype(dtype).itemsize
        free = self._library.memory()[0]
        if needed > free:
            raise out_of_memory(needed, free)
        return [self._library.empty(shape, dtype) for shape in shapes]

    def place(self, data: Any, dtype: Any) -> Any:
        """Return `data` as a contiguous array of the GPU, copied only if it is not one."""
        return self._library.array(data, dtype)
