"""Coordinate descent on a GPU: a block handles a row, and its threads share the gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.kernels.cuda.target import (
    block_sum,
    cuda,
    elements,
    gpu_kernel,
    launch_each,
    number,
    total_of_blocks,
)


@gpu_kernel
def _coordinate_descent(
    partial, W, penalty, H, N, weight, n_free, tolerance, max_sweeps, gradients, rows, alpha
):
    columns = W.shape[1]
    last = columns - n_free
    me, threads, w = cuda.threadIdx.x, cuda.blockDim.x, number(weight)
    decrease = moved = 0.0
    for i in range(cuda.blockIdx.x, W.shape[0], cuda.gridDim.x):
        gradient, row = gradients[cuda.blockIdx.x], rows[cuda.blockIdx.x]
        for j in range(me, columns, threads):
            row[j] = W[i, j]
            gradient[j] = -w * N[i, j]
        cuda.syncthreads()
        for _ in range(max_sweeps):
            largest = scale = 0.0
            for j in range(columns):
                # All threads compute the same step; then each updates its part of the gradient.
                curvature, old = H[j, j], row[j]
                if curvature <= 0.0:
                    continue  # a column of zeros without regularisation
                new = old - gradient[j] / curvature
                if j < last:
                    new = penalty.prox(new, 1.0 / curvature)
                change = new - old
                root = math.sqrt(curvature)
                largest = max(largest, abs(change) * root)
                scale = max(scale, max(abs(new), abs(old)) * root)
                cuda.syncthreads()  # all have read
                if change != 0.0:
                    if me == 0:
                        row[j] = new
                    for k in range(me, columns, threads):
                        gradient[k] += change * H[j, k]
                cuda.syncthreads()
            if not largest > tolerance * scale:
                break
        own_decrease = own_moved = 0.0
        for j in range(me, columns, threads):
            old = np.float64(W[i, j])
            change = row[j] - old
            own_decrease += 0.5 * change * (w * N[i, j] - gradient[j])
            own_moved += change * change
            if j < last:
                own_decrease += penalty.value(old) - penalty.value(row[j])
            W[i, j] = row[j]
        cuda.syncthreads()
        decrease += own_decrease + 0.5 * alpha * own_moved
        moved += own_moved
    decrease = block_sum(decrease)
    moved = block_sum(moved)
    if me == 0:
        partial[0, cuda.blockIdx.x] = decrease
        partial[1, cuda.blockIdx.x] = moved


def coordinate_descent(
    W: Any,
    penalty: Any,
    H: Any,
    N: Any,
    weight: Any,
    n_free: int,
    tolerance: float,
    max_sweeps: int,
    gradients: Any,
    rows: Any,
    decrease: Any,
    alpha: float = 0.0,
) -> None:
    """``argmin_W 1/2 <W - W', (W - W') H> - weight <W - W', N> + r(W)``, in place.

    Arguments as in `fastbcd.kernels.coordinate_descent` with three differences: gradients and
    rows are float64 (min(m, `target.ROW_BLOCKS`), d), a row for each block; ``alpha/2 |W - W'|^2``
    is added to decrease[0], too; nothing is returned.
    """
    total_of_blocks(
        _coordinate_descent,
        len(W),
        W,
        penalty,
        H,
        N,
        weight,
        n_free,
        float(tolerance),
        max_sweeps,
        gradients,
        rows,
        float(alpha),
        sums=2,
        into=decrease,
    )


@gpu_kernel
def _slopes(slopes, C, V, scaled_residual, kappa, rho):
    i, j, down, turns = elements(*V.shape)
    r = number(rho)
    for _ in range(turns):
        gap = np.float64(C[i, j]) - np.float64(V[i, j])
        slopes[i, j] = kappa * gap + r * np.float64(scaled_residual[i, j])
        i += down


def state_slopes(slopes: Any, C: Any, V: Any, scaled_residual: Any, kappa: float, rho: Any) -> None:
    """``slopes = kappa (C - V) + rho scaled_residual``, in float64.

    It is minus the smooth gradient of the V_l-block. C, V and
    ``scaled_residual = (U_next - V^ W_next^T) W_next`` (m, d); rho a number or (1,) on the GPU.
    """
    launch_each(_slopes, V.shape, slopes, C, V, scaled_residual, float(kappa), rho)
