"""Samples whose zeros are not stored: rows of a CSR matrix, in any order, without a copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Samples X (n, d): row i has ``values[first[i]:last[i]]`` in ``columns[first[i]:last[i]]``.

    Indexing by a slice, a mask or row numbers gives such rows again, of the same `columns` and
    `values`. So shuffled batches, held-out parts and tiles cost no copy of the numbers. As an array
    of samples it has `shape`, `dtype` and a length.

    Parameters
    ----------
    first, last : (n,) int64 array
    columns : (nnz,) int32 array
        In a row they ascend, each once.
    values : (nnz,) array
        Finite and not 0.
    width : int
        d, the number of columns.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[Any]
    width: int

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, rows: Any) -> SparseRows:
        return SparseRows(self.first[rows], self.last[rows], self.columns, self.values, self.width)

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""
        return len(self), self.width

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        return self.values.dtype

    @property
    def parts(self) -> tuple[Any, ...]:
        """``(first, last, columns, values)``, as kernels take them."""
        return self.first, self.last, self.columns, self.values

    @property
    def stored(self) -> int:
        """The number of values of these rows."""
        return int((self.last - self.first).sum())

    def compact(self) -> SparseRows:
        """Return a copy with the values of these rows only, one row after the other."""
        lengths = self.last - self.first
        last = np.cumsum(lengths)
        first = last - lengths
        places = np.repeat(self.first - first, lengths) + np.arange(self.stored)
        return SparseRows(first, last, self.columns[places], self.values[places], self.width)

    def with_values(self, function: Any) -> SparseRows:
        """Return the rows with ``function(columns, values)`` in place of their values.

        If these rows are a small part of the stored ones, only their values are computed.
        """
        own = self if 2 * self.stored >= len(self.values) else self.compact()
        values = function(own.columns, own.values)
        return SparseRows(own.first, own.last, own.columns, values, own.width)

    def astype(self, dtype: Any) -> SparseRows:
        """Return the rows with values of this type; themselves if they have it."""
        if self.dtype == dtype:
            return self
        with np.errstate(over="ignore"):  # the check of X reports infinity
            return self.with_values(lambda columns, values: values.astype(dtype))

    def where(self, place: int) -> tuple[int, int]:
        """Return row and column of the value at `place`, which belongs to one of the rows."""
        row = np.flatnonzero((self.first <= place) & (place < self.last))[0]
        return int(row), int(self.columns[place])

    def toarray(self) -> NDArray[Any]:
        """Return a dense array (n, d)."""
        own, out = self.compact(), np.zeros(self.shape, self.dtype)
        out[np.repeat(np.arange(len(own)), own.last - own.first), own.columns] = own.values
        return out
