"""Arrays of all samples on the GPU: there they stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from fastbcd.devices.cuda.library import out_of_memory


class Resident:
    """The storage of a GPU: as `Memory` of the processor, but it tells how much is free.

    Parameters
    ----------
    library : Library
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    def plan(self, work: int, tile: int, n_threads: int | None, held: Sequence[Any]) -> None:
        """Nothing: `allocate` looks at what is free."""

    def allocate(self, shapes: Sequence[tuple[int, ...]], dtype: Any) -> list[Any]:
        """Uninitialised arrays; `InputError` with the bytes needed and free where they do not fit.

        All of them or none.
        """
        needed = sum(int(np.prod(shape)) for shape in shapes) * np.dtype(dtype).itemsize
        free = self._library.memory()[0]
        if needed > free:
            raise out_of_memory(needed, free)
        return [self._library.empty(shape, dtype) for shape in shapes]

    def place(self, data: Any, dtype: Any) -> Any:
        """`data` as a contiguous array of the GPU, not copied where it is one already."""
        return self._library.array(data, dtype)

    def blocks(self, array: Any) -> Iterator[slice]:
        """All rows at once."""
        yield slice(0, len(array))

    def done_with(self, array: Any, rows: slice) -> None:
        """Nothing: they stay."""

    def read_by_rows(self, array: Any) -> None:
        """Nothing: memory has no order."""

    def prefetch(self, array: Any, rows: slice) -> None:
        """Nothing: they are here."""

    def drop_mapping(self, array: Any) -> None:
        """Nothing: they stay."""

    def stream(
        self, n: int, tile_rows: int, arrays: Sequence[Any], n_threads: int | None
    ) -> AbstractContextManager[Any]:
        """The body as it is."""
        return nullcontext(lambda body: body)
