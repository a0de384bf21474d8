"""Squared norms and penalties of matrices on a GPU, summed in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.cuda.target import (
    elements,
    gpu_kernel,
    launch,
    leave_sum,
    shared_scalar,
    total_of_each,
)
from fastbcd.kernels.subgradient import _nearest_to_zero as _nearest_of_interval

_nearest_to_zero = shared_scalar(_nearest_of_interval)


@gpu_kernel
def _squared_distance(partial, A, B):
    i, j, down, turns = elements(*A.shape)
    own = 0.0
    for _ in range(turns):
        gap = np.float64(A[i, j])
        if B is not None:
            gap -= np.float64(B[i, j])
        own += gap * gap
        i += down
    leave_sum(partial, own)


def squared_norm(A: Any) -> Any:
    """``|A|^2``, summed in float64; A (m, d)."""
    return total_of_each(_squared_distance, A.shape, A, None)[0]


def squared_distance(A: Any, B: Any) -> Any:
    """``|A - B|^2``, summed in float64; A, B (m, d)."""
    return total_of_each(_squared_distance, A.shape, A, B)[0]


@gpu_kernel
def _penalty_sum(partial, penalty, W):
    i, j, down, turns = elements(*W.shape)
    own = 0.0
    for _ in range(turns):
        own += penalty.value(np.float64(W[i, j]))
        i += down
    leave_sum(partial, own)


def penalty_sum(penalty: Any, W: Any) -> Any:
    """``r(W)``, summed in float64, r being `penalty`; W (m, d) without the bias column."""
    return total_of_each(_penalty_sum, W.shape, penalty, W)[0]


@gpu_kernel
def _prox(W, penalty, step, columns):
    i, j, down, turns = elements(W.shape[0], columns)
    for _ in range(turns):
        W[i, j] = penalty.prox(np.float64(W[i, j]), step[0] if step is not None else 0.0)
        i += down


def project(W: Any, penalty: Any) -> None:
    """Move W to the nearest point of the penalty's domain; W (m, d) without the bias column."""
    launch(_prox, W.shape, W, penalty, None, W.shape[1])


def prox_weights(W: Any, penalty: Any, length: Any) -> None:
    """``W = argmin_Z r(Z) + 1/(2 length) |Z - W|^2``, r being `penalty`; the bias stays.

    W (m, d + 1); length (1,) float64 on the GPU; length 0 gives the nearest point of the domain.
    """
    launch(_prox, W.shape, W, penalty, length, W.shape[1] - 1)


@gpu_kernel
def _penalty_subgradient(partial, penalty, W, G):
    i, j, down, turns = elements(*W.shape)
    own = 0.0
    for _ in range(turns):
        low, high = penalty.subdifferential(np.float64(W[i, j]))
        g = _nearest_to_zero(G[i, j] + low, G[i, j] + high)
        own += g * g
        i += down
    leave_sum(partial, own)


def penalty_subgradient(penalty: Any, W: Any, G: Any) -> Any:
    """``|G + dr(W)|^2``; arguments as in `fastbcd.kernels.penalty_subgradient`."""
    return total_of_each(_penalty_subgradient, W.shape, penalty, W, G)[0]


@gpu_kernel
def _preactivation_subgradient(partial, activation, U, A, R, gamma, rho, tiny):
    i, j, down, turns = elements(*U.shape)
    own = 0.0
    for _ in range(turns):
        # u - tiny and u + tiny equal u unless u = 0.
        scaled_residual, a = rho * np.float64(R[i, j]), gamma * np.float64(A[i, j])
        left = scaled_residual - a * np.float64(activation.derivative(U[i, j] - tiny))
        right = scaled_residual - a * np.float64(activation.derivative(U[i, j] + tiny))
        if left <= right:
            g = _nearest_to_zero(left, right)
        else:
            g = min(abs(left), abs(right))
        own += g * g
        i += down
    leave_sum(partial, own)


def preactivation_subgradient(
    activation: Any, U: Any, A: Any, R: Any, gamma: float, rho: float
) -> Any:
    """``|rho R - gamma act'(U) A|^2``, in float64.

    Arguments as in `fastbcd.kernels.preactivation_subgradient`.
    """
    tiny = U.dtype.type(np.finfo(U.dtype).tiny)
    return total_of_each(
        _preactivation_subgradient,
        U.shape,
        activation,
        U,
        A,
        R,
        float(gamma),
        float(rho),
        tiny,
    )[0]
