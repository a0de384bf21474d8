"""Samples in an order, and with weights, that do not depend on how they were handed in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 4096
# Two sums of 64 bits for each row: all of 2^32 pairs differ but for chances of 2^-30 or less.
KEYS = 2


def canonical(
    X: NDArray[Any], Y: NDArray[Any], weight: NDArray[np.float64] | None
) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
    """Rows of (X, Y) to take, in which order, and their weights; None where all are equal.

    Rows of weight 0 go, equal rows become one that has the sum of their weights, and the order
    follows from the values of a row alone. So a weight of 2 is a sample that is there twice, a
    weight of 0 one that is not there, and results do not depend on the order of samples, all to
    the last bit.

    Parameters
    ----------
    X : (n, d) array
        Finite numbers; compared as float64, 0 and -0 being equal.
    Y : (n, k) array
        StepScalars, too: a row is a sample with its target.
    weight : (n,) array or None
        Not negative, not all 0; None for 1 each.
    """
    kept = np.arange(len(X)) if weight is None else np.flatnonzero(weight > 0.0)
    weights = np.ones(len(X)) if weight is None else weight
    keys = _hash(X, 0) + _hash(Y, X.shape[1])
    # The weight decides last: sums of weights are added up in one order, too.
    order = kept[np.lexsort((weights[kept], *keys.T[:, kept]))]
    new = _differs_from_the_last(X, Y, order, keys)
    if new is None:
        columns = (*_rows(Y, order).T, *_rows(X, order).T)
        order = order[np.lexsort((weights[order], *columns))]
        new = _differs_from_the_last(X, Y, order, None)
        assert new is not None
    first = np.flatnonzero(new)
    merged = np.add.reduceat(weights[order], first)
    return order[first], None if (merged == merged[0]).all() else merged


def _rows(A: NDArray[Any], rows: Any) -> NDArray[np.float64]:
    return np.asarray(A[rows], np.float64) + 0.0  # -0 becomes 0


def _hash(A: NDArray[Any], offset: int) -> NDArray[np.uint64]:
    """``sum_j a_ij r_jk mod 2^64``, a_ij being the mixed bits of A (n, d), r_jk fixed odd numbers.

    Column j of A is number offset + j of the row that it is part of.
    """
    draw = np.random.default_rng(offset).integers(2**64, size=(A.shape[1], KEYS), dtype=np.uint64)
    factors = draw | np.uint64(1)
    keys = np.empty((len(A), KEYS), np.uint64)
    for start in range(0, len(A), ROWS):
        bits = _rows(A, slice(start, start + ROWS)).view(np.uint64)
        # Short numbers end in zeros, which would leave only few bits of a sum: mix them.
        bits ^= bits >> np.uint64(32)
        for k in range(KEYS):
            keys[start : start + ROWS, k] = bits @ factors[:, k]
    return keys


def _differs_from_the_last(
    X: NDArray[Any], Y: NDArray[Any], order: NDArray[np.intp], keys: NDArray[np.uint64] | None
) -> NDArray[np.bool_] | None:
    """Which rows, in this order, are not those before; None where keys agree and rows do not."""
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
