"""The V_L-block: proximal step of the loss, sample by sample."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import kernel, scalar


@kernel
def update_output_state(V, loss, U, below, Y, weight, gamma, alpha, ridge, work):
    """``argmin_v weight loss(v; y) + gamma/2 |v-b-u|^2 + alpha/2 |v-v'|^2 + ridge/2 |v|^2``.

    The V_L-block with the exact proximal operator of the loss, row by row.

    Parameters
    ----------
    V : (m, k) array, float32 or float64
        Output states, updated in place; v' is its value on entry.
    loss : Formula
        See `fastbcd.kernels.losses`.
    U : (m, k) array
        Pre-activations of the same samples.
    below : (m, k) array or None
        b, the states below, where the output layer is residual; else None.
    Y : (m, k) array
        Targets.
    weight, gamma, alpha, ridge : float
        ``weight, gamma > 0``, ``alpha, ridge >= 0``.
    work : (3, k) float64 array
        Work space.

    Notes
    -----
    First line of all algorithms: the quadratics merge into one, centred at
    ``(gamma (u + b) + alpha v') / (gamma + alpha + ridge)``; the prox of the loss solves it.
    """
    quadratic = gamma + alpha + ridge
    center = work[2]
    for i in range(V.shape[0]):
        _center(center, V[i], U[i], None if below is None else below[i], gamma, alpha, quadratic)
        loss.row_prox(V[i], center, work, Y[i], quadratic / weight)


@kernel
def update_output_state_penalised(V, loss, penalty, U, below, Y, weight, gamma, alpha, work):
    """``argmin_v weight (loss(v; y) + s(v)) + gamma/2 |v - b - u|^2 + alpha/2 |v - v'|^2``.

    The V_L-block with any penalty s on the output states; see `fastbcd.kernels.penalties`.
    V, loss, U, below, Y, weight, gamma, alpha, work as in `update_output_state`; s is `penalty`.
    """
    quadratic = gamma + alpha
    center = work[2]
    for i in range(V.shape[0]):
        _center(center, V[i], U[i], None if below is None else below[i], gamma, alpha, quadratic)
        loss.row_prox_penalised(V[i], center, work, Y[i], quadratic / weight, penalty)


@scalar
def _center(center, v, u, below, gamma, alpha, quadratic):
    share_u, share_v = gamma / quadratic, alpha / quadratic
    for j in range(v.shape[0]):
        target = u[j] if below is None else u[j] + below[j]
        center[j] = share_u * target + share_v * v[j]


@kernel
def update_output_state_linearised(V, loss, penalty, U, below, Y, weight, gamma, alpha, work):
    """``argmin_v weight (<grad loss(v'), v> + s(v)) + gamma/2 |v-b-u|^2 + alpha/2 |v-v'|^2``.

    The prox-linear V_L-block: the loss is linearised at the old states, so it needs a gradient.
    V, loss, penalty, U, below, Y, weight, gamma, alpha, work as in
    `update_output_state_penalised`. F descends where ``alpha > max(0, (L - gamma) / 2)``, with L
    the Lipschitz constant of weight times the gradient.

    Notes
    -----
    Prox-linear updates (1), (2) and Theorem 2.
    """
    gradient = work[0]
    for i in range(V.shape[0]):
        loss.row_gradient(gradient, V[i], Y[i])
        for j in range(V.shape[1]):
            u = U[i, j] if below is None else U[i, j] + below[i, j]
            smooth = (gamma * u + alpha * V[i, j] - weight * gradient[j]) / (gamma + alpha)
            V[i, j] = penalty.prox(np.float64(smooth), weight / (gamma + alpha))


@kernel
def output_terms(loss, penalty, V, U, below, Y, weight, gamma, sample_weight=None):
    """``sum_i c_i (weight (loss(v; y) + s(v)) + gamma/2 |v - b - u|^2)``, V_L's part of F, float64.

    loss, penalty, V, U, below, Y, weight, gamma as in `update_output_state_penalised`;
    sample_weight (m,) float64 holds the c_i; with None each is 1.
    """
    total = 0.0
    for i in range(V.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        coupling = 0.0
        for j in range(V.shape[1]):
            v = np.float64(V[i, j])
            gap = v - np.float64(U[i, j])
            if below is not None:
                gap -= np.float64(below[i, j])
            coupling += 0.5 * gamma * gap * gap + weight * penalty.value(v)
        total += c * (weight * loss.row_value(V[i], Y[i]) + coupling)
    return total


@kernel
def loss_sum(loss, V, Y, sample_weight=None):
    """``sum_i c_i loss(v_i; y_i)``, in float64; V, Y (m, k), c being `sample_weight` (m,)."""
    total = 0.0
    for i in range(V.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        total += c * loss.row_value(V[i], Y[i])
    return total
