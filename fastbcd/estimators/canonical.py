"""An order of samples, and weights, that depend on the set of samples only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.sparse_rows import SparseRows

ROWS = 4096
# With two 64-bit sums per row, some of 2^32 pairs agree with a probability of 2^-30 or less.
KEYS = 2


def canonical(
    X: NDArray[Any] | SparseRows, Y: NDArray[Any], weight: NDArray[np.float64] | None
) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
    """Return the rows of (X, Y) to take, in their order, and their weights, None if all are equal.

    Rows of weight 0 are dropped, equal rows become one with the sum of their weights, and the order
    follows from the values of the rows alone. So a sample of weight 2 counts as two samples, one of
    weight 0 as none, and results do not depend on the order of samples, all to the last bit.

    Parameters
    ----------
    X : (n, d) array
        Finite numbers, which are compared as float64; 0 and -0 are equal. Sparse samples get the
        same order as dense ones.
    Y : (n, k) array
        Finite numbers, too: a row is a sample with its target.
    weight : (n,) array or None
        Not negative, and not all 0; None for 1 each.
    """
    kept = np.arange(len(X)) if weight is None else np.flatnonzero(weight > 0.0)
    weights = np.ones(len(X)) if weight is None else weight
    keys = _hash(X, 0) + _hash(Y, X.shape[1])
    # The last key is the weight, so that sums of weights have a fixed order, too.
    order = kept[np.lexsort((weights[kept], *keys.T[:, kept]))]
    new = _differs_from_last(X, Y, order, keys)
    if new is None:
        of_inputs = _bytes_of_rows(X[order]) if isinstance(X, SparseRows) else _rows(X, order).T
        columns = (*_rows(Y, order).T, *of_inputs)
        order = order[np.lexsort((weights[order], *columns))]
        new = _differs_from_last(X, Y, order, None)
        assert new is not None
    first = np.flatnonzero(new)
    merged = np.add.reduceat(weights[order], first)
    return order[first], None if (merged == merged[0]).all() else merged


def _rows(A: NDArray[Any], rows: Any) -> NDArray[np.float64]:
    return _numbers(A[rows])


def _bytes_of_rows(A: SparseRows) -> list[NDArray[np.intp]]:
    """Return one number for each row (n,): the place of its columns and values in their order."""
    parts = zip(A.first, A.last, strict=True)
    texts = [A.columns[i:j].tobytes() + _numbers(A.values[i:j]).tobytes() for i, j in parts]
    return [np.unique(texts, return_inverse=True)[1]]


def _numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values, np.float64) + 0.0  # -0 becomes 0


def _hash(A: NDArray[Any] | SparseRows, offset: int) -> NDArray[np.uint64]:
    """``sum_j a_ij r_jk mod 2^64`` of the mixed bits a_ij of A (n, d) and fixed odd numbers r_jk.

    Column j of A is column offset + j of the whole row.
    """
    draw = np.random.default_rng(offset).integers(2**64, size=(A.shape[1], KEYS), dtype=np.uint64)
    factors = draw | np.uint64(1)
    keys = np.empty((len(A), KEYS), np.uint64)
    for start in range(0, len(A), ROWS):
        rows = slice(start, start + ROWS)
        if isinstance(A, SparseRows):
            own = A[rows].compact()
            bits = _mixed(_numbers(own.values))
            for k in range(KEYS):  # 0 adds nothing, so the sums are those of the dense rows
                sums = np.cumsum(bits * factors[own.columns, k], dtype=np.uint64)
                sums = np.concatenate([np.zeros(1, np.uint64), sums])
                keys[rows, k] = sums[own.last] - sums[own.first]
        else:
            bits = _mixed(_rows(A, rows))
            for k in range(KEYS):
                keys[rows, k] = bits @ factors[:, k]
    return keys


def _mixed(numbers: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Mix the bits, because short numbers end in zeros, and few bits of a sum would vary."""
    bits = numbers.view(np.uint64)
    bits ^= bits >> np.uint64(32)
    return bits


def _differs_from_last(
    X: NDArray[Any] | SparseRows,
    Y: NDArray[Any],
    order: NDArray[np.intp],
    keys: NDArray[np.uint64] | None,
) -> NDArray[np.bool_] | None:
    """Mark rows that differ from the one before, in this order.

    Only rows with equal `keys` are compared. The result is None if some of them differ.
    """
    before, after = order[:-1], order[1:]
    new = np.ones(len(order), bool)
    if keys is None:
        same = np.arange(len(after))
    else:
        same = np.flatnonzero((keys[before] == keys[after]).all(axis=1))
    for start in range(0, len(same), ROWS):
        part = same[start : start + ROWS]
        equal = np.ones(len(part), bool)
        for A in (X, Y):
            equal &= _are_equal(A, before[part], after[part])
        new[part + 1] = ~equal
        if keys is not None and not equal.all():
            return None
    return new


def _are_equal(
    A: NDArray[Any] | SparseRows, some: NDArray[np.intp], others: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Mark the pairs of rows of A that are equal, (m,)."""
    if not isinstance(A, SparseRows):
        return np.asarray((_rows(A, some) == _rows(A, others)).all(axis=1))
    one, two = A[some], A[others]
    equal = one.last - one.first == two.last - two.first
    one, two = one[equal].compact(), two[equal].compact()
    differ = (one.columns != two.columns) | (one.values != two.values)
    numbers = np.concatenate([[0], np.cumsum(differ)])
    equal[equal] = numbers[one.last] == numbers[one.first]
    return equal
