"""Mean and standard deviation of each feature, over blocks of rows and over ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.blocks import blocks, release, rows_of_block
from fastbcd.ranks import Alone, Ranks

Vector = NDArray[np.float64]
# Of a block whose weighted sums are products of matrices.
ROWS = 4096
# NumPy's sums of up to so many numbers are not halved.
UNDIVIDED = 128
ALONE = Alone()


def moments(X: NDArray[Any], ranks: Ranks = ALONE) -> tuple[Vector, Vector]:
    """``mean_j = sum_i X_ij / n``, ``deviation_j = sqrt(sum_i (X_ij - mean_j)^2 / n)``: (d,).

    Over the rows X (n, d) of all ranks. On one the bits of `numpy.mean` and `numpy.std` in float64
    (but for the mean where columns are together and not of float64), without copies of all of X.
    """
    n = np.array([float(len(X))])
    ranks.sum(n)
    mean = _sums(X, None)
    ranks.sum(mean)
    mean /= n
    variance = _sums(X, mean)
    ranks.sum(variance)
    return mean, np.sqrt(variance / n)


def _sums(X: NDArray[Any], mean: Vector | None) -> Vector:
    """Sum over i of ``X_ij``, or ``(X_ij - mean_j)^2`` where there is a mean, for each j.

    In the order in which NumPy adds: row after row; by halves where columns are together.
    """
    together = X.shape[1] == 1 or abs(X.strides[0]) < abs(X.strides[1])
    if together:
        return _sums_by_halves(X, mean)
    step = rows_of_block(X.shape[1])
    # The sum so far is row 0, to which NumPy adds the others.
    block = np.empty((step + 1, X.shape[1]))
    total = np.zeros(X.shape[1])
    for rows in blocks(X, step):
        m = rows.stop - rows.start
        block[0] = total
        _terms(X[rows], mean, block[1 : m + 1])
        np.add.reduce(block[: m + 1], axis=0, out=total)
    return total


def _sums_by_halves(X: NDArray[Any], mean: Vector | None) -> Vector:
    n, d = X.shape
    if n <= max(UNDIVIDED, rows_of_block(d)):
        terms = np.empty((n, d), order="F")
        _terms(X, mean, terms)
        release(X)
        return np.add.reduce(terms, axis=0)
    half = n // 2
    half -= half % 8  # as NumPy's, which adds eight numbers at a time
    return _sums_by_halves(X[:half], mean) + _sums_by_halves(X[half:], mean)


def _terms(X: NDArray[Any], mean: Vector | None, out: NDArray[np.float64]) -> None:
    if mean is None:
        out[...] = X
    else:
        np.subtract(X, mean, out=out)
        np.multiply(out, out, out=out)


def weighted_moments(
    X: NDArray[Any], weight: Vector, ranks: Ranks = ALONE
) -> tuple[Vector, Vector]:
    """Mean and standard deviation (d,) of each feature of X (n, d), with weights (n,).

    Over the rows of all ranks.
    """
    total = np.array([weight.sum()])
    ranks.sum(total)
    share = weight / total
    mean, variance = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for rows in blocks(X, ROWS):
        mean += share[rows] @ X[rows].astype(np.float64)
    ranks.sum(mean)
    for rows in blocks(X, ROWS):
        variance += share[rows] @ (X[rows] - mean) ** 2
    ranks.sum(variance)
    return mean, np.sqrt(variance)
