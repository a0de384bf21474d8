"""The V_L-block on a GPU: proximal step of the loss, one thread for each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.cuda.target import (
    cuda,
    gpu_kernel,
    launch_rows,
    leave_sum,
    shared_scalar,
    total_of_rows,
)
from fastbcd.kernels.output_state import _center as _center_of_row

_center = shared_scalar(_center_of_row)


@gpu_kernel
def _update(V, loss, penalty, U, below, Y, gamma, alpha, quadratic, q, work):
    for i in range(cuda.grid(1), V.shape[0], cuda.gridsize(1)):
        center = work[2, :, i]
        if below is None:
            _center(center, V[i], U[i], None, gamma, alpha, quadratic)
        else:
            _center(center, V[i], U[i], below[i], gamma, alpha, quadratic)
        if penalty is None:
            loss.row_prox(V[i], center, work[:2, :, i], Y[i], q)
        else:
            loss.row_prox_penalised(V[i], center, work[:2, :, i], Y[i], q, penalty)


def update_output_state(
    V: Any,
    loss: Any,
    U: Any,
    below: Any,
    Y: Any,
    weight: float,
    gamma: float,
    alpha: float,
    ridge: float,
    work: Any,
) -> None:
    """``argmin_v weight loss(v; y) + gamma/2 |v-b-u|^2 + alpha/2 |v-v'|^2 + ridge/2 |v|^2``.

    Arguments as in `fastbcd.kernels.update_output_state`, but work is (3, k, m) float64, as each
    sample needs its own.
    """
    quadratic = gamma + alpha + ridge
    q = quadratic / weight
    launch_rows(_update, len(V), V, loss, None, U, below, Y, gamma, alpha, quadratic, q, work)


def update_output_state_penalised(
    V: Any,
    loss: Any,
    penalty: Any,
    U: Any,
    below: Any,
    Y: Any,
    weight: float,
    gamma: float,
    alpha: float,
    work: Any,
) -> None:
    """`update_output_state` with any penalty on the output states; work (3, k, m) float64.

    Arguments as in `fastbcd.kernels.update_output_state_penalised`.
    """
    quadratic = gamma + alpha
    q = quadratic / weight
    launch_rows(_update, len(V), V, loss, penalty, U, below, Y, gamma, alpha, quadratic, q, work)


@gpu_kernel
def _update_linearised(V, loss, penalty, U, below, Y, weight, gamma, alpha, work):
    for i in range(cuda.grid(1), V.shape[0], cuda.gridsize(1)):
        gradient = work[0, :, i]
        loss.row_gradient(gradient, V[i], Y[i])
        for j in range(V.shape[1]):
            u = U[i, j] if below is None else U[i, j] + below[i, j]
            smooth = (gamma * u + alpha * V[i, j] - weight * gradient[j]) / (gamma + alpha)
            V[i, j] = penalty.prox(np.float64(smooth), weight / (gamma + alpha))


def update_output_state_linearised(
    V: Any,
    loss: Any,
    penalty: Any,
    U: Any,
    below: Any,
    Y: Any,
    weight: float,
    gamma: float,
    alpha: float,
    work: Any,
) -> None:
    """Prox-linear V_L-block; work (3, k, m), float64.

    Arguments as in `fastbcd.kernels.update_output_state_linearised`.
    """
    launch_rows(
        _update_linearised, len(V), V, loss, penalty, U, below, Y, weight, gamma, alpha, work
    )


@gpu_kernel
def _output_terms(partial, loss, penalty, V, U, below, Y, weight, gamma):
    own = 0.0
    for i in range(cuda.grid(1), V.shape[0], cuda.gridsize(1)):
        coupling = 0.0
        for j in range(V.shape[1]):
            v = np.float64(V[i, j])
            gap = v - np.float64(U[i, j])
            if below is not None:
                gap -= np.float64(below[i, j])
            coupling += 0.5 * gamma * gap * gap + weight * penalty.value(v)
        own += weight * loss.row_value(V[i], Y[i]) + coupling
    leave_sum(partial, own)


def output_terms(
    loss: Any, penalty: Any, V: Any, U: Any, below: Any, Y: Any, weight: float, gamma: float
) -> Any:
    """Terms of F with V_L, in float64; arguments as in `fastbcd.kernels.output_terms`."""
    return total_of_rows(
        _output_terms, len(V), loss, penalty, V, U, below, Y, float(weight), float(gamma)
    )[0]


@gpu_kernel
def _loss_sum(partial, loss, V, Y, weight):
    own = 0.0
    for i in range(cuda.grid(1), V.shape[0], cuda.gridsize(1)):
        value = loss.row_value(V[i], Y[i])
        own += value if weight is None else weight[i] * value
    leave_sum(partial, own)


def loss_sum(loss: Any, V: Any, Y: Any) -> Any:
    """``sum_i loss(v_i; y_i)``, in float64; V, Y (m, k)."""
    return total_of_rows(_loss_sum, len(V), loss, V, Y, None)[0]


def weighted_loss_sum(loss: Any, V: Any, Y: Any, weight: Any) -> Any:
    """``sum_i weight_i loss(v_i; y_i)``, in float64; V, Y (m, k), weight (m,) float64."""
    return total_of_rows(_loss_sum, len(V), loss, V, Y, weight)[0]


@gpu_kernel
def _output_subgradient(partial, loss, penalty, V, G, Y, work):
    own = 0.0
    for i in range(cuda.grid(1), V.shape[0], cuda.gridsize(1)):
        low, high = work[0, :, i], work[1, :, i]
        loss.row_subdifferential(low, high, V[i], Y[i])
        for j in range(V.shape[1]):
            s_low, s_high = penalty.subdifferential(np.float64(V[i, j]))
            left, right = G[i, j] + (low[j] + s_low), G[i, j] + (high[j] + s_high)
            g = left if left > 0.0 else right if right < 0.0 else 0.0
            own += g * g
    leave_sum(partial, own)


def output_subgradient(loss: Any, penalty: Any, V: Any, G: Any, Y: Any, work: Any) -> Any:
    """``|G + d(loss + s)(V)|^2``; work (2, k, m) or more, float64.

    Arguments as in `fastbcd.kernels.output_subgradient`.
    """
    return total_of_rows(_output_subgradient, len(V), loss, penalty, V, G, Y, work)[0]
