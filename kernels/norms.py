"""Squared norms of arrays, summed in float64 for any type.

Here and in other sums over samples `sample_weight` (m,) float64 holds the c_i; with None each is 1.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import kernel


@kernel
def squared_norm(A, sample_weight=None):
    """``sum_i c_i |A_i|^2``, summed in float64; A (m, d), c being `sample_weight` (m,)."""
    total = 0.0
    for i in range(A.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        for j in range(A.shape[1]):
            total += c * (np.float64(A[i, j]) * np.float64(A[i, j]))
    return total


@kernel
def squared_distance(A, B, sample_weight=None):
    """``sum_i c_i |A_i - B_i|^2``, summed in float64; A, B (m, d), c being `sample_weight` (m,)."""
    total = 0.0
    for i in range(A.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        for j in range(A.shape[1]):
            gap = np.float64(A[i, j]) - np.float64(B[i, j])
            total += c * (gap * gap)
    return total
