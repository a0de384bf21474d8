"""Squared norms of arrays, summed in float64 whatever their type."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import kernel


@kernel
def squared_norm(A):
    """``|A|^2``, summed in float64; A (m, d)."""
    total = 0.0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            total += np.float64(A[i, j]) * np.float64(A[i, j])
    return total


@kernel
def squared_distance(A, B):
    """``|A - B|^2``, summed in float64; A, B (m, d)."""
    total = 0.0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            gap = np.float64(A[i, j]) - np.float64(B[i, j])
            total += gap * gap
    return total
