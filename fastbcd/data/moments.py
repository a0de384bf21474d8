"""Mean and standard deviation of each feature, over blocks of rows and over ranks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.blocks import blocks, rows_of_block
from fastbcd.data.sparse import column_largest
from fastbcd.devices.ranks import SINGLE_PROCESS, Ranks
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.kernels import add_compensated

Vector = NDArray[np.float64]
# Computes float64 terms from a block of X and the slice of its rows.
Terms = Callable[[NDArray[Any], slice], NDArray[np.float64]]


def moments(
    X: NDArray[Any], weight: Vector | None = None, ranks: Ranks = SINGLE_PROCESS
) -> tuple[Vector, Vector]:
    """``mean_j = sum_i w_i X_ij / sum w``, ``deviation_j^2 = sum_i w_i (X_ij - mean_j)^2 / sum w``.

    Both are (d,) float64, over the rows of all ranks. The sums are compensated for rounding, so
    that the result has the same bits however the rows are distributed over blocks and ranks.

    Parameters
    ----------
    X : (n, d) array
        Numbers of any type; one block of it at a time is in memory.
    weight : (n,) float64 array, optional
        w, not negative; default: 1 for each.
    ranks : Ranks, optional
        Each rank has rows of its own; n may be 0 on some.
    """
    count = sum(ranks.gather(len(X))) if weight is None else weight_sum(weight, ranks)

    def values(part: NDArray[Any], rows: slice) -> NDArray[np.float64]:
        terms = part.astype(np.float64, order="C")
        return terms if weight is None else terms * weight[rows, None]

    mean = _sums(X, values, ranks) / count

    def squares(part: NDArray[Any], rows: slice) -> NDArray[np.float64]:
        terms = np.ascontiguousarray(np.subtract(part, mean, dtype=np.float64))
        terms *= terms
        return terms if weight is None else terms * weight[rows, None]

    return mean, np.sqrt(_sums(X, squares, ranks) / count)


def of_channels(mean: Vector, deviation: Vector, channels: int) -> tuple[Vector, Vector]:
    """Return mean and deviation (d,) of all pixels of a column's channel, channels last.

    ``deviation_c^2 = mean_p (deviation_p^2 + (mean_p - mean_c)^2)`` over the pixels p of channel c.
    """
    means = mean.reshape(-1, channels)
    together = means.mean(axis=0)
    apart = np.hypot(deviation.reshape(-1, channels), means - together)
    largest = np.where(apart.max(axis=0) > 0.0, apart.max(axis=0), 1.0)
    deviations = largest * np.sqrt(np.square(apart / largest).mean(axis=0))
    return np.tile(together, len(means)), np.tile(deviations, len(means))


def weight_sum(weight: Vector, ranks: Ranks) -> float:
    """Return the sum of the weights (n,) of all ranks."""
    return math.fsum(ranks.gather(math.fsum(weight)))


def largest_magnitude(X: NDArray[Any] | SparseRows) -> float:
    """Return the largest magnitude in X (n, d), in blocks of rows; 0 if n is 0."""
    if isinstance(X, SparseRows):
        return float(column_largest(X).max())
    largest = 0.0
    for rows in blocks(X, rows_of_block(X.shape[1])):
        largest = max(largest, abs(float(X[rows].min())), abs(float(X[rows].max())))
    return largest


def binary_columns(X: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark the columns of X (n, d) that hold 0 and 1 only, in blocks of rows; n may be 0."""
    binary = np.ones(X.shape[1], bool)
    for rows in blocks(X, rows_of_block(X.shape[1])):
        binary &= ((X[rows] == 0) | (X[rows] == 1)).all(axis=0)
    return binary


def is_constant(mean: Vector, deviation: Vector) -> NDArray[np.bool_]:
    """Whether columns of this mean and standard deviation are constant up to rounding."""
    return np.asarray(deviation <= 1e-12 * np.maximum(np.abs(mean), 1e-300))


def _sums(X: NDArray[Any], terms_of: Terms, ranks: Ranks) -> Vector:
    """Sum the terms of all rows for each column."""
    total, lost = np.zeros((2, X.shape[1]))
    for rows in blocks(X, rows_of_block(X.shape[1])):
        add_compensated(total, lost, terms_of(X[rows], rows))
    parts = np.concatenate(ranks.gather(np.stack([total, lost])))
    # A column that overflows has no exact sum; the caller finds NaN.
    finite = np.isfinite(parts).all(axis=0)
    return np.array([math.fsum(c) if ok else np.nan for c, ok in zip(parts.T, finite, strict=True)])
