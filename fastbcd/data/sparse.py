"""Sparse inputs: checks, and the largest magnitudes of their columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.errors import InputError
from fastbcd.kernels import sparse_column_largest
from fastbcd.layers import Layer

MOST_COLUMNS = 2**31 - 1


def is_sparse(data: Any) -> bool:
    """Whether `data` is a sparse matrix or array of SciPy, or `SparseRows`."""
    return isinstance(data, SparseRows) or hasattr(data, "tocsr")


def sparse_rows(data: Any, name: str) -> SparseRows:
    """Return sparse `data` (n, d) as rows, after a check; the numbers are copied only if needed.

    Other formats than CSR are converted. Numbers at the same place are added up, and stored zeros
    are dropped.

    Raises
    ------
    InputError
        It is not two-dimensional, is empty, is not a well-formed matrix of real numbers, or has
        NaN or infinity, whose row and column the message names.
    """
    rows = data if isinstance(data, SparseRows) else _from_scipy(data, name)
    if not np.isfinite(rows.values).all():  # of rows that are elsewhere, too
        own = rows.compact()
        for place in np.flatnonzero(~np.isfinite(own.values))[:1]:
            row, column = own.where(int(place))
            raise InputError(
                f"{name} must be finite, but row {row}, column {column} is {own.values[place]}"
            )
    return rows


def _from_scipy(data: Any, name: str) -> SparseRows:
    if data.ndim != 2:
        raise InputError(f"{name} must be 2-d, samples by features, got {data.ndim}-d")
    if 0 in data.shape:
        raise InputError(f"{name} must have at least one sample and feature, got {data.shape}")
    if data.dtype.kind not in "fiub":
        raise InputError(f"{name} must hold numbers only")
    if data.shape[1] > MOST_COLUMNS:
        raise InputError(f"{name} has {data.shape[1]} columns; at most {MOST_COLUMNS} are possible")
    matrix = data.tocsr()
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise InputError(f"{name} is not a well-formed sparse matrix: {error}") from None
    given = matrix is data
    if not matrix.has_canonical_format:
        matrix = matrix.copy() if given else matrix
        matrix.sum_duplicates()
        given = False
    if np.count_nonzero(matrix.data) < matrix.nnz:
        matrix = matrix.copy() if given else matrix
        matrix.eliminate_zeros()
    starts = matrix.indptr.astype(np.int64, copy=False)
    columns = matrix.indices.astype(np.int32, copy=False)
    return SparseRows(starts[:-1], starts[1:], columns, matrix.data, matrix.shape[1])


def column_largest(X: SparseRows | NDArray[Any]) -> NDArray[np.float64]:
    """Return ``max_i |X_ij|`` for each column, (d,) float64."""
    out = np.zeros(X.shape[1])
    if isinstance(X, SparseRows):
        sparse_column_largest(out, *X.parts)
    else:
        np.maximum(np.abs(X.max(axis=0)), np.abs(X.min(axis=0)), out=out)
    return out


def check_first_layer(layer: Layer, residual: bool) -> None:
    """`InputError` if the first layer, which may be `residual`, does not take sparse inputs."""
    if not layer.takes_sparse:
        raise InputError(
            f"layers: the first one, {layer}, needs dense inputs, but X is sparse; give X.toarray()"
        )
    if residual:
        raise InputError(
            "residual: the first layer would add sparse inputs to its outputs; give it another "
            "width than X has columns, or X.toarray()"
        )
