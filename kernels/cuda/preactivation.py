"""The U_l-block on a GPU: elementwise global proximal step of the activation."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.cuda.target import (
    elements,
    gpu_function,
    gpu_kernel,
    launch_each,
    leave_sum,
    leave_sums,
    number,
    total_of_each,
)


@gpu_function
def _prox(activation, a, c, q):
    new = activation.quick_prox(a, c, q)
    if activation.has_quick_prox and new != new:
        new = activation.prox(a, c, q)
    return new


@gpu_kernel
def _update(U, activation, V, below, B, q, share_b, share_u):
    i, j, down, turns = elements(*U.shape)
    for _ in range(turns):
        a, b, old = V[i, j], B[i, j], U[i, j]
        if below is not None:
            a -= below[i, j]
        c = share_b * b + share_u * old
        new = _prox(activation, a, c, q)
        U[i, j] = new
        B[i, j] = new - b
        i += down


@gpu_kernel
def _update_and_measure(partial, U, activation, V, below, B, q, share_b, share_u, g, r):
    i, j, down, turns = elements(*U.shape)
    decrease = moved = 0.0
    for _ in range(turns):
        a, b, old = V[i, j], B[i, j], U[i, j]
        if below is not None:
            a -= below[i, j]
        c = share_b * b + share_u * old
        new = _prox(activation, a, c, q)
        U[i, j] = new
        B[i, j] = new - b
        residual_old, residual_new = a - activation.value(old), a - activation.value(new)
        gap_old, gap_new, change = old - b, new - b, old - new
        decrease += np.float64(
            g * (residual_old - residual_new) * (residual_old + residual_new)
            + r * change * (gap_old + gap_new)
        )
        moved += np.float64(change * change)
        i += down
    leave_sums(partial, 0.5 * decrease, moved)


def update_preactivation(
    U: Any,
    activation: Any,
    V: Any,
    below: Any,
    B: Any,
    gamma: float,
    rho: float,
    alpha: float,
    decrease: Any,
) -> None:
    """``U = argmin_u gamma (a - act(u))^2 + rho (u - B)^2 + alpha (u - u')^2``, globally.

    Arguments as in `fastbcd.kernels.update_preactivation`; decrease on the GPU, or None.
    """
    T = U.dtype.type
    q = T((rho + alpha) / gamma)
    shares = T(rho / (rho + alpha)), T(alpha / (rho + alpha))
    if decrease is None:
        launch_each(_update, U.shape, U, activation, V, below, B, q, *shares)
    else:
        total_of_each(
            _update_and_measure,
            U.shape,
            U,
            activation,
            V,
            below,
            B,
            q,
            *shares,
            T(gamma),
            T(rho),
            sums=2,
            into=decrease,
        )


@gpu_function
def _displaced(D, T, old, d, activation, q, i, j):
    a = activation.value(old) + d
    new = _prox(activation, a, old, q)
    D[i, j] = new - old
    if T is not None:
        T[i, j] = a - activation.value(new)
    return np.float64((new - old) * (new - old))


def _displacement(partial, D, T, U, activation, q):
    # Each thread has two rows under way, because it waits for memory most of the time.
    i, j, down, turns = elements(*U.shape)
    own = 0.0
    for _ in range(turns // 2):
        old, d = U[i, j], D[i, j]
        old_next, d_next = U[i + down, j], D[i + down, j]
        own += _displaced(D, T, old, d, activation, q, i, j)
        own += _displaced(D, T, old_next, d_next, activation, q, i + down, j)
        i += down + down
    if turns % 2:
        own += _displaced(D, T, U[i, j], D[i, j], activation, q, i, j)
    leave_sum(partial, own)


_displacement_at_will = gpu_kernel(_displacement)
# With at most 32 registers a multiprocessor has room for all of its threads. An H200 then moves a
# fifth more bytes for leaky ReLU (0.82 of a copy's rate, and 0.69 without the limit). Others, and
# float64, need more registers.
SIMPLE = ("relu", "leaky_relu", "linear")
_displacement_few_registers = gpu_kernel(_displacement, max_registers=32)


def displacement(D: Any, T: Any, U: Any, activation: Any, gamma: float, rho: float) -> Any:
    """``D = argmin_u gamma (act(U) + D - act(u))^2 + rho (u - U)^2 - U``; returns ``|D|^2``.

    Arguments as in `fastbcd.kernels.displacement`.
    """
    simple = U.dtype == np.float32 and activation.name in SIMPLE
    kernel = _displacement_few_registers if simple else _displacement_at_will
    return total_of_each(kernel, U.shape, D, T, U, activation, U.dtype.type(rho / gamma))[0]


@gpu_kernel
def _scaled(out, A, factor):
    i, j, down, turns = elements(*out.shape)
    f = number(factor)
    for _ in range(turns):
        out[i, j] = f * A[i, j]
        i += down


def scaled(out: Any, A: Any, factor: Any) -> None:
    """``out = factor A``; (m, d); factor a number, or (1,) on the GPU, of A's type."""
    launch_each(_scaled, out.shape, out, A, factor)
