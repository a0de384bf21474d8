"""Elementwise blocks of hidden layers on a GPU: activations, their residuals, their centers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.cuda.target import (
    columns_of,
    elements,
    gpu_function,
    gpu_kernel,
    launch_each,
    leave_sum,
    to_the_right,
    total,
    total_of_each,
)

# If each thread waited for one number at a time, a third of an H200's bandwidth would be idle. So
# the kernels that read little read four rows before they write.


@gpu_function
def _state(activation, u, below, i, j):
    v = activation.value(u)
    return v if below is None else v + below[i, j]


@gpu_kernel
def _activate(V, activation, U, below):
    i, j, down, turns = elements(*U.shape)
    two, three = down + down, down + down + down
    for _ in range(turns // 4):
        a, b, c, d = U[i, j], U[i + down, j], U[i + two, j], U[i + three, j]
        V[i, j] = _state(activation, a, below, i, j)
        V[i + down, j] = _state(activation, b, below, i + down, j)
        V[i + two, j] = _state(activation, c, below, i + two, j)
        V[i + three, j] = _state(activation, d, below, i + three, j)
        i += two + two
    for _ in range(turns % 4):
        V[i, j] = _state(activation, U[i, j], below, i, j)
        i += down


def activate(V: Any, activation: Any, U: Any, below: Any) -> None:
    """``V = S V_{l-1} + act(U)``; arguments as in `fastbcd.kernels.activate`."""
    launch_each(_activate, U.shape, V, activation, U, below)


@gpu_kernel
def _activate_augmented(partial, V, activation, U, below):
    i, j, down, turns = elements(*U.shape)
    d, own = U.shape[1], 0.0
    for _ in range(turns):
        v = activation.value(U[i, j])
        V[i, j] = v if below is None else v + below[i, j]
        own += np.float64(U[i, j] * U[i, j])
        if j == 0:
            V[i, d] = V.dtype.type(1)
        i += down
    leave_sum(partial, own)


def activate_augmented(V: Any, activation: Any, U: Any, below: Any) -> Any:
    """``V^ = [S V_{l-1} + act(U), 1]``; returns ``|U|^2``; arguments as on the CPU."""
    return total(_activate_augmented, U.shape, V, activation, U, below)[0]


@gpu_kernel
def _activation_residual(partial, activation, V, U, below):
    i, j, down, turns = elements(*V.shape)
    own = 0.0
    for _ in range(turns):
        residual = np.float64(V[i, j]) - np.float64(activation.value(U[i, j]))
        if below is not None:
            residual -= np.float64(below[i, j])
        own += residual * residual
        i += down
    leave_sum(partial, own)


def activation_residual(activation: Any, V: Any, U: Any, below: Any) -> Any:
    """``|V - S V_{l-1} - act(U)|^2``; arguments as in `fastbcd.kernels.activation_residual`."""
    return total_of_each(_activation_residual, V.shape, activation, V, U, below)[0]


@gpu_kernel
def _coupling_residual(A, activation, V, U, below):
    i, j, down, turns = elements(*A.shape)
    for _ in range(turns):
        residual = V[i, j] - activation.value(U[i, j])
        A[i, j] = residual if below is None else residual - below[i, j]
        i += down


def coupling_residual(A: Any, activation: Any, V: Any, U: Any, below: Any) -> None:
    """``A = V - S V_{l-1} - act(U)``; arguments as in `fastbcd.kernels.coupling_residual`."""
    launch_each(_coupling_residual, A.shape, A, activation, V, U, below)


@gpu_function
def _coupled(activation, u, below, activation_next, U_next, V_next, i, j):
    c = activation.value(u)
    if below is not None:
        c += below[i, j]
    if V_next is not None:
        c += V_next[i, j] - activation_next.value(U_next[i, j])
    return c


@gpu_kernel
def _state_center(C, activation, U, below, activation_next, U_next, V_next, factor):
    i, j, down, turns = elements(*C.shape)
    two, three = down + down, down + down + down
    for _ in range(turns // 4):
        a, b, c, d = U[i, j], U[i + down, j], U[i + two, j], U[i + three, j]
        C[i, j] = factor * _coupled(activation, a, below, activation_next, U_next, V_next, i, j)
        C[i + down, j] = factor * _coupled(
            activation, b, below, activation_next, U_next, V_next, i + down, j
        )
        C[i + two, j] = factor * _coupled(
            activation, c, below, activation_next, U_next, V_next, i + two, j
        )
        C[i + three, j] = factor * _coupled(
            activation, d, below, activation_next, U_next, V_next, i + three, j
        )
        i += two + two
    for _ in range(turns % 4):
        C[i, j] = factor * _coupled(
            activation, U[i, j], below, activation_next, U_next, V_next, i, j
        )
        i += down


def state_center(
    C: Any,
    activation: Any,
    U: Any,
    below: Any,
    activation_next: Any,
    U_next: Any,
    V_next: Any,
    scale: float,
) -> None:
    """Minimiser of the activation couplings over V, as in `fastbcd.kernels.state_center`."""
    factor = C.dtype.type(scale if V_next is None else 0.5 * scale)
    launch_each(
        _state_center, C.shape, C, activation, U, below, activation_next, U_next, V_next, factor
    )


@gpu_kernel
def _proximal_center(C, A, V, share_a, share_v):
    i, j, down, turns = elements(*C.shape)
    for _ in range(turns):
        C[i, j] = share_a * A[i, j] + share_v * V[i, j]
        i += down


def proximal_center(C: Any, A: Any, V: Any, gamma: float, alpha: float) -> None:
    """``C = (gamma A + alpha V) / (gamma + alpha)``; C, A, V (m, d)."""
    T = C.dtype.type
    shares = T(gamma / (gamma + alpha)), T(alpha / (gamma + alpha))
    launch_each(_proximal_center, C.shape, C, A, V, *shares)


@gpu_kernel
def _residual_of_bias(residual, U, bias):
    i, j, down, turns = elements(*residual.shape)
    column, right, d = columns_of(i, j, down, residual.shape[1], len(bias))
    two, three = down + down, down + down + down
    for _ in range(turns // 4):
        if U is not None:
            a, b, c, e = U[i, j], U[i + down, j], U[i + two, j], U[i + three, j]
        residual[i, j] = a - bias[column] if U is not None else bias[column]
        column = to_the_right(column, right, d)
        residual[i + down, j] = b - bias[column] if U is not None else bias[column]
        column = to_the_right(column, right, d)
        residual[i + two, j] = c - bias[column] if U is not None else bias[column]
        column = to_the_right(column, right, d)
        residual[i + three, j] = e - bias[column] if U is not None else bias[column]
        column = to_the_right(column, right, d)
        i += two + two
    for _ in range(turns % 4):
        residual[i, j] = U[i, j] - bias[column] if U is not None else bias[column]
        column = to_the_right(column, right, d)
        i += down


def residual_of_bias(residual: Any, U: Any, bias: Any) -> None:
    """``residual = U - bias`` in each row, or bias where U is None; U (m, d) or None, bias (d,)."""
    launch_each(_residual_of_bias, residual.shape, residual, U, bias)


@gpu_kernel
def _difference_of_states(partial, old, V):
    i, j, down, turns = elements(*V.shape)
    own = 0.0
    for _ in range(turns):
        old[i, j] -= V[i, j]
        own += np.float64(old[i, j]) * np.float64(old[i, j])
        i += down
    leave_sum(partial, own)


def displacement_of_states(old: Any, V: Any) -> Any:
    """``old = old - V`` in place; returns its squared norm; both (m, d)."""
    return total_of_each(_difference_of_states, V.shape, old, V)[0]
