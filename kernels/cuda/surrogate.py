"""Algorithm 1's nonlinear blocks on a GPU; see `fastbcd.kernels.surrogate` for the mathematics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.kernels.cuda.target import (
    block_max,
    block_of_grid,
    block_sum,
    cuda,
    elements,
    gpu_kernel,
    launch_each,
    launch_rows,
    leave_sum,
    number,
    shared_scalar,
    thread_of_block,
    total_of_blocks,
    total_of_columns,
    total_of_each,
    total_of_rows,
)
from fastbcd.kernels.surrogate import _penalty_at as _penalty_of_weight
from fastbcd.kernels.surrogate import _search_state as _search_row
from fastbcd.kernels.surrogate import _state_value as _value_of_row

_state_value, _penalty_at = shared_scalar(_value_of_row), shared_scalar(_penalty_of_weight)
_search_state = shared_scalar(_search_row)


@gpu_kernel
def _curvature_bound(partial, activation, V, Z):
    i, j, down, turns = elements(*V.shape)
    own = 0.0
    for _ in range(turns):
        bound = activation.curvature(np.float64(V[i, j]))
        if not math.isfinite(bound):
            slope = np.float64(activation.derivative(Z[i, j]))
            bound = slope * slope
        own = max(own, bound)
        i += down
    largest = block_max(own)
    if thread_of_block() == 0:
        partial[0, block_of_grid()] = largest


def curvature_bound(activation: Any, V: Any, Z: Any) -> Any:
    """Largest curvature of the surrogates; arguments as in `fastbcd.kernels.curvature_bound`."""
    return total_of_each(_curvature_bound, V.shape, activation, V, Z, largest=True)[0]


@gpu_kernel
def _surrogate_residual(R, activation, V, Z, curvature):
    i, j, down, turns = elements(*R.shape)
    one = R.dtype.type(1)
    inverse = one / R.dtype.type(number(curvature))
    for _ in range(turns):
        z = Z[i, j]
        R[i, j] = inverse * activation.derivative(z) * (V[i, j] - activation.value(z))
        i += down


def surrogate_residual(R: Any, activation: Any, V: Any, Z: Any, curvature: Any) -> None:
    """``R = act'(Z) (V - act(Z)) / curvature``; curvature is a number, or (1,) on the GPU.

    Arguments as in `fastbcd.kernels.surrogate_residual`.
    """
    launch_each(_surrogate_residual, R.shape, R, activation, V, Z, curvature)


@gpu_kernel
def _search_states(V, end, center, Z, dZ, activation, V_next, penalty, kappa, gamma, noise):
    for i in range(cuda.grid(1), V.shape[0], cuda.gridsize(1)):
        v, e, c, z, dz, v_next = V[i], end[i], center[i], Z[i], dZ[i], V_next[i]
        _search_state(v, e, c, z, dz, activation, v_next, penalty, kappa, gamma, noise)


def search_states(
    V: Any,
    end: Any,
    center: Any,
    Z: Any,
    dZ: Any,
    activation: Any,
    V_next: Any,
    penalty: Any,
    kappa: float,
    gamma: float,
) -> None:
    """Line search of each sample from V to `end`, in place; one thread for each sample.

    Arguments as in `fastbcd.kernels.search_states`.
    """
    noise = 4.0 * float(np.finfo(V.dtype).eps)
    launch_rows(
        _search_states,
        len(V),
        V,
        end,
        center,
        Z,
        dZ,
        activation,
        V_next,
        penalty,
        float(kappa),
        float(gamma),
        noise,
    )


@gpu_kernel
def _state_terms(partial, V, A, penalty, Z, activation, V_next, gamma):
    own = 0.0
    for i in range(cuda.grid(1), V.shape[0], cuda.gridsize(1)):
        own += _state_value(
            V[i], V[i], 0.0, A[i], Z[i], Z[i], activation, V_next[i], penalty, gamma, gamma
        )
    leave_sum(partial, own)


def state_terms(
    V: Any, A: Any, penalty: Any, Z: Any, activation: Any, V_next: Any, gamma: float
) -> Any:
    """Terms of F in the V-block, in float64; arguments as in `fastbcd.kernels.state_terms`."""
    return total_of_rows(_state_terms, len(V), V, A, penalty, Z, activation, V_next, float(gamma))[
        0
    ]


@gpu_kernel
def _row_sums(partial, activation, V, Z, dZ, steps):
    part, j, down, turns = elements(*V.shape)
    T = Z.dtype.type
    if j < V.shape[1]:
        for k in range(steps.shape[0]):
            i, t, own = part, T(steps[k]), 0.0
            for _ in range(turns):
                residual = V[i, j] - activation.value(Z[i, j] + t * dZ[i, j])
                own += np.float64(residual * residual)
                i += down
            partial[k, part, j] = own


def add_row_sums(sums: Any, activation: Any, V: Any, Z: Any, dZ: Any, steps: Any) -> None:
    """``sums[k, j] += sum_i (V[i, j] - act(Z[i, j] + steps[k] dZ[i, j]))^2``.

    Arguments as in `fastbcd.kernels.add_row_sums`, steps on the GPU.
    """
    total_of_columns(_row_sums, sums, len(V), activation, V, Z, dZ, steps)


@gpu_kernel
def _search_rows(partial, W, end, sums, steps, penalty, gamma, alpha, noise):
    # A block handles a row of W; its threads share the row's elements.
    last = W.shape[1] - 1
    decrease = moved = 0.0
    for i in range(cuda.blockIdx.x, W.shape[0], cuda.gridDim.x):
        own = 0.0
        for j in range(cuda.threadIdx.x, W.shape[1], cuda.blockDim.x):
            change = np.float64(end[i, j]) - np.float64(W[i, j])
            own += change * change
        length = block_sum(own)
        start = best = fallen = chosen = 0.0
        for k in range(steps.shape[0]):
            t, own = steps[k], 0.0
            for j in range(cuda.threadIdx.x, last, cuda.blockDim.x):
                own += _penalty_at(penalty, np.float64(W[i, j]), np.float64(end[i, j]), t, noise)
            value = 0.5 * gamma * sums[k, i] + block_sum(own)
            proximal = value + 0.5 * alpha * t * t * length
            if k == 0:
                start = best = value
            elif proximal < best and proximal < start - noise * abs(start):
                best, chosen, fallen = proximal, t, start - value
        if chosen != 0.0:
            decrease += fallen
            moved += chosen * chosen * length
            for j in range(cuda.threadIdx.x, W.shape[1], cuda.blockDim.x):
                if chosen == 1.0:
                    W[i, j] = end[i, j]
                else:
                    w = np.float64(W[i, j])
                    w += chosen * (np.float64(end[i, j]) - w)
                    W[i, j] = penalty.prox(w, 0.0) if j < last else w
    if cuda.threadIdx.x == 0:
        partial[0, cuda.blockIdx.x] = decrease
        partial[1, cuda.blockIdx.x] = moved


def search_rows(
    W: Any,
    end: Any,
    sums: Any,
    steps: Any,
    penalty: Any,
    gamma: float,
    alpha: float,
    decrease: Any,
) -> None:
    """Move each row of W towards `end` by the best of the steps, in place.

    Arguments as in `fastbcd.kernels.search_rows`, with steps and decrease on the GPU.
    """
    total_of_blocks(
        _search_rows,
        len(W),
        W,
        end,
        sums,
        steps,
        penalty,
        float(gamma),
        float(alpha),
        4.0 * float(np.finfo(W.dtype).eps),
        sums=2,
        into=decrease,
    )
