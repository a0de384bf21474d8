"""An order of samples, and weights, that depend on the set of samples only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 4096
# With two 64-bit sums per row, some of 2^32 pairs agree with a probability of 2^-30 or less.
KEYS = 2


def canonical(
    X: NDArray[Any], Y: NDArray[Any], weight: NDArray[np.float64] | None
) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
    """Return the rows of (X, Y) to take, in their order, and their weights, None if all are equal.

    Rows of weight 0 are dropped, equal rows become one with the sum of their weights, and the order
    follows from the values of the rows alone. So a sample of weight 2 counts as two samples, one of
    weight 0 as none, and results do not depend on the order of samples, all to the last bit.

    Parameters
    ----------
    X : (n, d) array
        Finite numbers, which are compared as float64; 0 and -0 are equal.
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
        columns = (*_rows(Y, order).T, *_rows(X, order).T)
        order = order[np.lexsort((weights[order], *columns))]
        new = _differs_from_last(X, Y, order, None)
        assert new is not None
    first = np.flatnonzero(new)
    merged = np.add.reduceat(weights[order], first)
    return order[first], None if (merged == merged[0]).all() else merged


def _rows(A: NDArray[Any], rows: Any) -> NDArray[np.float64]:
    return np.asarray(A[rows], np.float64) + 0.0  # -0 becomes 0


def _hash(A: NDArray[Any], offset: int) -> NDArray[np.uint64]:
    """``sum_j a_ij r_jk mod 2^64`` of the mixed bits a_ij of A (n, d) and fixed odd numbers r_jk.

    Column j of A is column offset + j of the whole row.
    """
    draw = np.random.default_rng(offset).integers(2**64, size=(A.shape[1], KEYS), dtype=np.uint64)
    factors = draw | np.uint64(1)
    keys = np.empty((len(A), KEYS), np.uint64)
    for start in range(0, len(A), ROWS):
        bits = _rows(A, slice(start, start + ROWS)).view(np.uint64)
        # Mix the bits, because short numbers end in zeros, and few bits of a sum would vary.
        bits ^= bits >> np.uint64(32)
        for k in range(KEYS):
            keys[start : start + ROWS, k] = bits @ factors[:, k]
    return keys


def _differs_from_last(
    X: NDArray[Any], Y: NDArray[Any], order: NDArray[np.intp], keys: NDArray[np.uint64] | None
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
            equal &= (_rows(A, before[part]) == _rows(A, after[part])).all(axis=1)
        new[part + 1] = ~equal
        if keys is not None and not equal.all():
            return None
    return new
