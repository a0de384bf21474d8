"""Gram and cross products over samples on a GPU: what is added up around cuBLAS's products."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.cuda.target import cuda, gpu_kernel, launch, total_of_columns


@gpu_kernel
def _column_sums(partial, A):
    # x: columns, so that neighbours read neighbours; y: rows, shared by threads and blocks.
    j, y = cuda.grid(2)
    down = cuda.gridsize(2)[1]
    if j < A.shape[1]:
        own = 0.0
        for i in range(y, A.shape[0], down):
            own += np.float64(A[i, j])
        partial[0, y, j] = own


def add_column_sums(sums: Any, A: Any) -> None:
    """``sums[j] += sum_i A[i, j]``; A (m, d), sums (d,) float64."""
    total_of_columns(_column_sums, sums.reshape(1, -1), len(A), A)


@gpu_kernel
def _add_gram(total, work, sums, count):
    x, y = cuda.grid(2)
    across, down = cuda.gridsize(2)
    d = work.shape[0]
    for i in range(y, d + 1, down):
        for j in range(x, i + 1, across):
            if i < d:
                total[i, j] += np.float64(work[i, j])
            elif sums is not None:
                total[d, j] += sums[j] if j < d else count


def add_gram(total: Any, V: Any, work: Any, sums: Any) -> None:
    """Add ``V^^T V^`` to the lower triangle of `total`, given ``work = V^T V`` and column sums.

    Arguments as in `fastbcd.kernels.add_gram`; without sums (None) the last row stays.
    """
    launch(_add_gram, total.shape, total, work, sums, float(len(V)))


@gpu_kernel
def _add_cross(total, work, sums):
    x, y = cuda.grid(2)
    across, down = cuda.gridsize(2)
    d = work.shape[1]
    for i in range(y, work.shape[0], down):
        for j in range(x, d + 1, across):
            if j < d:
                total[i, j] += np.float64(work[i, j])
            elif sums is not None:
                total[i, d] += sums[i]


def add_cross(total: Any, work: Any, sums: Any) -> None:
    """Add ``R^T V^`` to `total`; arguments as in `fastbcd.kernels.add_cross`, sums or None."""
    launch(_add_cross, total.shape, total, work, sums)
