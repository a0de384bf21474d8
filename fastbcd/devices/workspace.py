"""Work arrays: memory that is kept from use to use and belongs to one owner.

An owner is a subclass of `Workspace`, which annotates its arrays as fields. Two owners never share
memory, so no step can overwrite the numbers of another by accident. Large arrays that only one step
needs at a time come from a `Pool`, which lends them and takes them back.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

Empty = Callable[[tuple[int, ...], Any], Any]
"""``empty(shape, dtype)`` returns an array of the device with arbitrary contents."""
W = TypeVar("W", bound="Workspace")


class Buffer:
    """Memory for one array at a time; it grows to the largest array that was asked for."""

    def __init__(self, empty: Empty) -> None:
        self._empty = empty
        self._memory: Any = None

    def array(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return a contiguous array with arbitrary contents, in the same memory at each call."""
        size = int(np.prod(shape))
        if self._memory is None or self._memory.dtype != dtype or len(self._memory) < size:
            self._memory = None  # freed first, so that the larger one may take its place
            self._memory = self._empty((size,), np.dtype(dtype))
        return self._memory[:size].reshape(shape)

    @property
    def memory(self) -> Any:
        """The whole memory; None before the first use."""
        return self._memory


class Workspace:
    """The work arrays of one owner: each annotation ``name: Buffer`` of a subclass gives one."""

    def __init__(self, empty: Empty) -> None:
        self._buffers = [Buffer(empty) for _ in type(self).__annotations__]
        for name, buffer in zip(type(self).__annotations__, self._buffers, strict=True):
            setattr(self, name, buffer)

    def memory(self) -> list[Any]:
        """Return the memory of all arrays that were used."""
        return [buffer.memory for buffer in self._buffers if buffer.memory is not None]


class Workspaces:
    """The workspaces of one thread, or of the stream of a GPU: one for each owner."""

    def __init__(self, empty: Empty) -> None:
        self._empty = empty
        self._known: dict[Hashable, Workspace] = {}

    def of(self, owner: type[W], number: int = 0) -> W:
        """Return the workspace of `owner`, or one of several that it numbers."""
        known = self._known.get((owner, number))
        if known is None:
            known = self._known[owner, number] = owner(self._empty)
        assert isinstance(known, owner)
        return known

    def memory(self) -> list[Any]:
        """Return the memory of all workspaces."""
        return [memory for work in self._known.values() for memory in work.memory()]


class Pool:
    """Lends large float64 arrays to one borrower each, and takes them back for the next.

    The matrices of a solve are as large as all work arrays of a pass. Solves follow one another, so
    the memory of one serves the next. Nobody else gets a matrix while it is lent.
    """

    def __init__(self, empty: Empty) -> None:
        self._empty = empty
        self._free: list[Any] = []
        self._lent: list[tuple[Any, Any]] = []

    def borrow(self, shape: tuple[int, ...]) -> Any:
        """Return a contiguous float64 array with arbitrary contents, lent until `give_back`."""
        size = int(np.prod(shape))
        self._free.sort(key=len)
        fitting = next((memory for memory in self._free if len(memory) >= size), None)
        if fitting is not None:
            self._free = [memory for memory in self._free if memory is not fitting]
        else:
            self._free = self._free[:-1]  # a larger one takes the place of the largest free one
            fitting = self._empty((size,), np.float64)
        array = fitting[:size].reshape(shape)
        self._lent.append((array, fitting))
        return array

    def give_back(self, *arrays: Any) -> None:
        """Take back arrays that `borrow` returned."""
        for array in arrays:
            for k, (lent, memory) in enumerate(self._lent):
                if lent is array:
                    del self._lent[k]
                    self._free.append(memory)
                    break
