"""Gram and cross products over samples on a GPU: sums of cuBLAS's products in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.cuda.target import elements, gpu_kernel, launch, total_of_columns


@gpu_kernel
def _column_sums(partial, A):
    i, j, down, turns = elements(*A.shape)
    part, own = i, 0.0
    for _ in range(turns):
        own += np.float64(A[i, j])
        i += down
    if j < A.shape[1]:
        partial[0, part, j] = own


def add_column_sums(sums: Any, A: Any) -> None:
    """``sums[j] += sum_i A[i, j]``; A (m, d), sums (d,) float64."""
    total_of_columns(_column_sums, sums.reshape(1, -1), len(A), A)


@gpu_kernel
def _add_gram(total, work, sums, count):
    d = work.shape[1]
    i, j, down, turns = elements(d + 1, d + 1)
    for _ in range(turns):
        if j <= i < d:
            own = 0.0
            for c in range(work.shape[0]):
                own += np.float64(work[c, i, j])
            total[i, j] += own
        elif i == d and sums is not None:
            total[d, j] += sums[j] if j < d else count
        i += down


def add_gram(total: Any, V: Any, work: Any, sums: Any) -> None:
    """``total += V^^T V^``, lower triangle, given ``work = V^T V`` and column sums.

    Arguments as in `fastbcd.kernels.add_gram`. work may also be (parts, d, d), the products of
    parts of the samples. With sums None the last row of total stays.
    """
    launch(_add_gram, total.shape, total, _as_parts(work), sums, float(len(V)))


def _as_parts(work: Any) -> Any:
    return work if work.ndim == 3 else work.reshape(1, *work.shape)


@gpu_kernel
def _add_cross(total, work, sums):
    d = work.shape[2]
    i, j, down, turns = elements(work.shape[1], d + 1)
    for _ in range(turns):
        if j < d:
            own = 0.0
            for c in range(work.shape[0]):
                own += np.float64(work[c, i, j])
            total[i, j] += own
        elif sums is not None:
            total[i, d] += sums[i]
        i += down


def add_cross(total: Any, work: Any, sums: Any) -> None:
    """``total += R^T V^``; arguments as in `fastbcd.kernels.add_cross`.

    work may also be (parts, d_out, d_in), the products of parts of the samples. With sums None
    the last column of total stays.
    """
    launch(_add_cross, total.shape, total, _as_parts(work), sums)
