"""The V_l-block below a pooling layer on a GPU: a thread takes one window of one image.

The formulas of a window are those of `fastbcd.kernels.pooled_states`. They need the numbers of a
window at once, for which each thread has a column of a work array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.cuda.pooling import first_of_window
from fastbcd.kernels.cuda.target import (
    cuda,
    gpu_kernel,
    launch_rows,
    leave_sum,
    leave_sums,
    new_array,
    shared_scalar,
    threads_of_rows,
    total_of_rows,
)
from fastbcd.kernels.pooled_states import _fall as _fall_of_number
from fastbcd.kernels.pooled_states import _force as _force_of_window
from fastbcd.kernels.pooled_states import _lower as _lower_window
from fastbcd.kernels.pooled_states import _raise_one as _raise_one_of_window
from fastbcd.kernels.pooled_states import _square_of_tied as _square_of_tied_numbers
from fastbcd.kernels.subgradient import _nearest_to_zero as _nearest_of_interval

_fall, _force = shared_scalar(_fall_of_number), shared_scalar(_force_of_window)
_lower, _raise_one = shared_scalar(_lower_window), shared_scalar(_raise_one_of_window)
_square_of_tied = shared_scalar(_square_of_tied_numbers)
_nearest_to_zero = shared_scalar(_nearest_of_interval)


@gpu_kernel
def _window_offsets(offsets, window):
    for e in range(cuda.grid(1), offsets.shape[0], cuda.gridsize(1)):
        y, x = e // window.patch_width, e % window.patch_width
        offsets[e] = (y * window.width + x) * window.channels


def window_offsets(window: Any) -> Any:
    """Return where the numbers of a window lie; see `fastbcd.kernels.pooling.window_offsets`."""
    offsets = new_array((window.patch_height * window.patch_width,), np.int64)
    launch_rows(_window_offsets, len(offsets), offsets, window)
    return offsets


@gpu_kernel
def _solve_below_mean(partial, V, C, U, window, offsets, penalty, ridge, kappa, rho):
    fallen = moved = 0.0
    q, d = offsets.shape[0], U.shape[1]
    for w in range(cuda.grid(1), U.shape[0] * d, cuda.gridsize(1)):
        n, k = w // d, w % d
        first, u = first_of_window(window, k), np.float64(U[n, k])
        force = _force(C[n], u, kappa, rho, ridge, first, offsets, penalty)
        before = after = 0.0
        for e in range(q):
            i = first + offsets[e]
            c, old = np.float64(C[n, i]), np.float64(V[n, i])
            V[n, i] = penalty.prox(c + force / kappa[i], 1.0 / kappa[i])
            new = np.float64(V[n, i])
            fallen += _fall(old, new, c, kappa[i], penalty)
            moved += (new - old) * (new - old)
            before += old / q
            after += new / q
        fallen += 0.5 * rho * (before - after) * (before + after - 2.0 * u)
    leave_sums(partial, fallen, moved)


def solve_below_mean(
    V: Any, C: Any, U: Any, window: Any, penalty: Any, ridge: Any, kappa: Any, rho: float,
    decrease: Any,
) -> None:  # fmt: skip
    """``V = argmin f`` for the mean; arguments as in `fastbcd.kernels.solve_below_mean`."""
    of_window = window, window_offsets(window), penalty, ridge, kappa, rho
    total_of_rows(_solve_below_mean, U.size, V, C, U, *of_window, sums=2, into=decrease)


@gpu_kernel
def _solve_below_maximum(partial, V, C, U, window, offsets, penalty, kappa, rho, work):
    fallen = moved = 0.0
    q, d = offsets.shape[0], U.shape[1]
    v = work[:, cuda.grid(1)]
    for w in range(cuda.grid(1), U.shape[0] * d, cuda.gridsize(1)):
        n, k = w // d, w % d
        first, u, largest = first_of_window(window, k), np.float64(U[n, k]), -np.inf
        for e in range(q):
            i = first + offsets[e]
            v[e] = penalty.prox(np.float64(C[n, i]), 1.0 / kappa[i])
            largest = max(largest, v[e])
        if u > largest:
            _raise_one(v, largest, u, C[n], kappa, rho, first, offsets, penalty)
        else:
            _lower(v, u, C[n], kappa, rho, first, offsets, penalty)
        before = after = -np.inf
        for e in range(q):
            i = first + offsets[e]
            old = np.float64(V[n, i])
            V[n, i] = v[e]
            new = np.float64(V[n, i])
            fallen += _fall(old, new, np.float64(C[n, i]), kappa[i], penalty)
            moved += (new - old) * (new - old)
            before, after = max(before, old), max(after, new)
        fallen += 0.5 * rho * (before - after) * (before + after - 2.0 * u)
    leave_sums(partial, fallen, moved)


def solve_below_maximum(
    V: Any, C: Any, U: Any, window: Any, penalty: Any, kappa: Any, rho: float, decrease: Any
) -> None:
    """``V = argmin f`` for the maximum; arguments as in `fastbcd.kernels.solve_below_maximum`."""
    offsets = window_offsets(window)
    work = new_array((len(offsets), threads_of_rows(U.size)), np.float64)
    of_window = window, offsets, penalty, kappa, rho, work
    total_of_rows(_solve_below_maximum, U.size, V, C, U, *of_window, sums=2, into=decrease)


@gpu_kernel
def _subgradient_below_maximum(partial, penalty, V, G, R, window, offsets, work):
    own = 0.0
    q, d = offsets.shape[0], R.shape[1]
    lows, highs = work[0, :, cuda.grid(1)], work[1, :, cuda.grid(1)]
    for w in range(cuda.grid(1), R.shape[0] * d, cuda.gridsize(1)):
        n, k = w // d, w % d
        first, count = first_of_window(window, k), 0
        largest = V[n, first]
        for e in range(q):
            largest = max(largest, V[n, first + offsets[e]])
        for e in range(q):
            i = first + offsets[e]
            low, high = penalty.subdifferential(np.float64(V[n, i]))
            low, high = G[n, i] + low, G[n, i] + high
            if V[n, i] == largest:
                lows[count], highs[count] = low, high
                count += 1
            else:
                g = _nearest_to_zero(low, high)
                own += g * g
        own += _square_of_tied(lows[:count], highs[:count], -np.float64(R[n, k]))
    leave_sum(partial, own)


def subgradient_below_maximum(penalty: Any, V: Any, G: Any, R: Any, window: Any) -> Any:
    """``|G + ds(V) - dA(V) R|^2`` of the subgradient nearest to 0, in float64.

    Arguments as in `fastbcd.kernels.subgradient_below_maximum`.
    """
    offsets = window_offsets(window)
    work = new_array((2, len(offsets), threads_of_rows(R.size)), np.float64)
    of_window = window, offsets, work
    return total_of_rows(_subgradient_below_maximum, R.size, penalty, V, G, R, *of_window)[0]
