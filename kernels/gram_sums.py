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
    """``total += sum_i c_i v^_i v^_i^T``, lower triangle, ``v^ = [v, 1]``.

    V (m, d); total (d + 1, d + 1) float64. work (d, d) of V's type and sums (d,) float64 hold
    the product and the column sums of these samples, from `tile_gram`. c is `sample_weight`
    (m,) float64, 1 for each where it is None.
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
    """``total += R^T V^`` (r, d + 1), float64, given ``work = R^T V`` (r, d), ``sums = 1^T R``."""
    d = work.shape[1]
    for i in range(work.shape[0]):
        for j in range(d):
            total[i, j] += np.float64(work[i, j])
        total[i, d] += sums[i]


@kernel
def tile_gram(work, sums, V):
    """``work = V^T V`` (d, d), lower triangle, ``sums = 1^T V``; V (m, d) is one tile."""
    gram(work, V, 0.0)
    column_sums(sums, V)


@kernel
def tile_cross(work, sums, R, V):
    """``work = R^T V`` (r, d), ``sums = 1^T R``; R (m, r), V (m, d), one tile; see `add_cross`."""
    transposed_product(work, R, V, 1.0, 0.0)
    column_sums(sums, R)


@kernel
def pack_lower(out, A):
    """``out = A``, lower triangle row by row; A (d, d), out (d (d + 1) / 2,) or longer."""
    k = 0
    for i in range(A.shape[0]):
        for j in range(i + 1):
            out[k] = A[i, j]
            k += 1


@kernel
def unpack_lower(A, packed):
    """``A = packed`` in the lower triangle of A (d, d), from `pack_lower`; the rest of A stays."""
    k = 0
    for i in range(A.shape[0]):
        for j in range(i + 1):
            A[i, j] = packed[k]
            k += 1
