"""Gram and cross products over samples: multiplied in the storage type, added in float64."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.blas import gram, transposed_product
from fastbcd.kernels.jit import kernel


@kernel
def column_sums(out, A):
    """``out[j] = sum_i A[i, j]``; A (m, d), out (d,) float64."""
    out[:] = 0.0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            out[j] += np.float64(A[i, j])


@kernel
def weigh_rows(out, sums, A, sample_weight):
    """``out_i = c_i A_i``, rounded once, and ``sums = sum_i c_i A_i``, in float64.

    out, A (m, d); sums (d,) and c, which is `sample_weight` (m,), float64.
    """
    sums[:] = 0.0
    for i in range(A.shape[0]):
        c = sample_weight[i]
        for j in range(A.shape[1]):
            weighted = c * np.float64(A[i, j])
            out[i, j] = weighted
            sums[j] += weighted


@kernel
def add_gram(total, V, work, sums, sample_weight=None):
    """Add ``sum_i c_i v^_i v^_i^T``, ``v^ = [v, 1]``, to the lower triangle of `total`.

    V (m, d); total (d + 1, d + 1) float64; work (d, d) of V's type: the product of
    these samples alone; sums (d,) float64: the column sums; c is `sample_weight` (m,)
    float64, 1 for each where it is None.
    """
    d = V.shape[1]
    for i in range(d):
        for j in range(i + 1):
            total[i, j] += np.float64(work[i, j])
        total[d, i] += sums[i]
    if sample_weight is None:
        total[d, d] += V.shape[0]
    else:
        for i in range(V.shape[0]):
            total[d, d] += sample_weight[i]


@kernel
def add_cross(total, work, sums):
    """Add ``R^T V^`` to `total` (r, d + 1) float64: ``work = R^T V`` (r, d), ``sums = 1^T R``."""
    d = work.shape[1]
    for i in range(work.shape[0]):
        for j in range(d):
            total[i, j] += np.float64(work[i, j])
        total[i, d] += sums[i]


@kernel
def tile_gram(work, sums, V):
    """Lower triangle of ``work = V^T V`` (d, d) and column sums of V (m, d); see `add_gram`."""
    gram(work, V, 0.0)
    column_sums(sums, V)


@kernel
def tile_cross(work, sums, R, V):
    """``work = R^T V`` (r, d) and column sums of R (m, r), one tile; see `add_cross`."""
    transposed_product(work, R, V, 1.0, 0.0)
    column_sums(sums, R)


@kernel
def pack_lower(out, A):
    """The lower triangle of A (d, d), row by row, in the first ``d (d + 1) / 2`` places of out."""
    k = 0
    for i in range(A.shape[0]):
        for j in range(i + 1):
            out[k] = A[i, j]
            k += 1


@kernel
def unpack_lower(A, packed):
    """The lower triangle of A (d, d) from `packed`, as `pack_lower` writes it; no more of A."""
    k = 0
    for i in range(A.shape[0]):
        for j in range(i + 1):
            A[i, j] = packed[k]
            k += 1
