"""The V_l-block without a matrix on a GPU: the threads of one block share the row of a sample.

Arguments are those of `fastbcd.kernels.state_descent`. A sample stops as it does there, but the
host is not asked how many samples move: the kernels of steps return the number of all samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.cuda.patches import as_factor
from fastbcd.kernels.cuda.target import (
    THREADS,
    block_max,
    block_sum,
    cuda,
    elements,
    gpu_kernel,
    launch,
    launch_blocks,
    number,
    total_of_blocks,
)


@gpu_kernel
def _state_slope(slope, V, C, kappa, rho):
    i, j, down, turns = elements(*V.shape)
    r = number(rho)
    for _ in range(turns):
        slope[i, j] = kappa[j] * (C[i, j] - V[i, j]) + r * slope[i, j]
        i += down


def state_slope(slope: Any, V: Any, C: Any, kappa: Any, rho: Any) -> None:
    """``slope = kappa (C - V) + rho slope``; rho may be an element on the GPU."""
    launch(_state_slope, V.shape, slope, V, C, kappa, as_factor(rho, V.dtype))


@gpu_kernel
def _row_squares(out, A):
    for i in range(cuda.blockIdx.x, A.shape[0], cuda.gridDim.x):
        own = 0.0
        for j in range(cuda.threadIdx.x, A.shape[1], THREADS):
            own += np.float64(A[i, j]) * np.float64(A[i, j])
        square = block_sum(own)
        if cuda.threadIdx.x == 0:
            out[i] = square


def row_squares(out: Any, A: Any) -> None:
    """``out[i] = |A_i|^2``; A (m, d), out (m,) float64."""
    launch_blocks(_row_squares, len(A), out, A)


@gpu_kernel
def _conjugate_step(partial, V, slope, P, HP, kappa, rho, squares, least):
    T, r, fallen = V.dtype.type, number(rho), 0.0
    for i in range(cuda.blockIdx.x, V.shape[0], cuda.gridDim.x):
        before = squares[i]
        if before <= least[i]:
            continue
        own = 0.0
        for j in range(cuda.threadIdx.x, V.shape[1], THREADS):
            h = kappa[j] * P[i, j] + r * HP[i, j]
            HP[i, j] = h
            own += np.float64(P[i, j]) * np.float64(h)
        curvature = block_sum(own)
        if not curvature > 0.0:
            if cuda.threadIdx.x == 0:
                squares[i] = 0.0
            continue
        length, own = before / curvature, 0.0
        t = T(length)
        for j in range(cuda.threadIdx.x, V.shape[1], THREADS):
            V[i, j] += t * P[i, j]
            s = slope[i, j] - t * HP[i, j]
            slope[i, j] = s
            own += np.float64(s) * np.float64(s)
        after = block_sum(own)
        share = T(after / before)
        for j in range(cuda.threadIdx.x, V.shape[1], THREADS):
            P[i, j] = slope[i, j] + share * P[i, j]
        if cuda.threadIdx.x == 0:
            squares[i] = after
        fallen += 0.5 * length * before
    if cuda.threadIdx.x == 0:
        partial[0, cuda.blockIdx.x] = fallen


def conjugate_step(
    V: Any, slope: Any, P: Any, HP: Any, kappa: Any, rho: Any, squares: Any, least: Any,
    decrease: Any,
) -> int:  # fmt: skip
    """One step of conjugate gradients for each sample; rho may be an element on the GPU."""
    arrays = V, slope, P, HP, kappa, as_factor(rho, V.dtype), squares, least
    total_of_blocks(_conjugate_step, len(V), *arrays, into=_of_fall(decrease))
    return len(V)


def _of_fall(decrease: Any) -> Any:
    """The part of `decrease` that the fall of f is added to."""
    return None if decrease is None else decrease[:1]


@gpu_kernel
def _proximal_step(step, V, slope, penalty, curvature):
    i, j, down, turns = elements(*V.shape)
    L = number(curvature)
    for _ in range(turns):
        v = np.float64(V[i, j])
        step[i, j] = penalty.prox(v + np.float64(slope[i, j]) / L, 1.0 / L) - v
        i += down


def proximal_step(step: Any, V: Any, slope: Any, penalty: Any, curvature: Any) -> None:
    """``step = prox_s(V + slope / L, 1 / L) - V``; L is an element on the GPU, or a number."""
    L = as_factor(curvature, np.dtype(np.float64))
    launch(_proximal_step, V.shape, step, V, slope, penalty, L)


@gpu_kernel
def _accept_step(
    partial, V, old, step, through, residual, slope, penalty, kappa, rho, fallen
):  # fmt: skip
    me, d, r, taken, own = cuda.threadIdx.x, V.shape[1], number(rho), 0.0, -np.inf
    for j in range(me, d, THREADS):
        own = max(own, -np.float64(kappa[j]))
    weakest = -block_max(own)
    for i in range(cuda.blockIdx.x, V.shape[0], cuda.gridDim.x):
        before = fallen[i]
        if before < 0.0:
            continue
        fall = distance = square = 0.0
        for j in range(me, d, THREADS):
            v, move = np.float64(V[i, j]), np.float64(step[i, j])
            new = penalty.prox(v + move, 0.0)
            fall += move * (np.float64(slope[i, j]) - 0.5 * np.float64(kappa[j]) * move)
            fall += penalty.value(v) - penalty.value(new)
            gap = new - np.float64(old[i, j])
            distance += gap * gap
            square += move * move
        for j in range(me, through.shape[1], THREADS):
            fall -= 0.5 * r * np.float64(through[i, j]) * np.float64(through[i, j])
        fall = block_sum(fall)
        distance = block_sum(distance)
        square = block_sum(square)
        enough = before + fall >= 0.5 * weakest * distance and 4.0 * distance >= square
        if not (fall > 0.0 and enough):
            if me == 0:
                fallen[i] = -1.0
            continue
        for j in range(me, d, THREADS):
            V[i, j] = penalty.prox(np.float64(V[i, j]) + np.float64(step[i, j]), 0.0)
        for j in range(me, through.shape[1], THREADS):
            residual[i, j] -= through[i, j]
        if me == 0:
            fallen[i] = before + fall
        taken += fall
    if me == 0:
        partial[0, cuda.blockIdx.x] = taken


def accept_step(
    V: Any, old: Any, step: Any, through: Any, residual: Any, slope: Any, penalty: Any, kappa: Any,
    rho: Any, fallen: Any, decrease: Any,
) -> int:  # fmt: skip
    """``V = V + step`` for each sample whose f falls enough; rho may be an element on the GPU."""
    moved, states = (V, old, step, through, residual, slope), (penalty, kappa)
    r = as_factor(rho, np.dtype(np.float64))
    of_fall = _of_fall(decrease)
    total_of_blocks(_accept_step, len(V), *moved, *states, r, fallen, into=of_fall)
    return len(V)
