"""Squared norm of the subgradient nearest to 0, block by block.

Where a term has a kink (hinge, l1, the bound of a box, ReLU at 0) the subdifferential
is an interval, or two numbers where the kink points upwards. The sums below
take its element g nearest to 0: |g| = 0 then means a critical point.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import kernel, scalar


@scalar
def _nearest_to_zero(low, high):
    return low if low > 0.0 else high if high < 0.0 else 0.0


@kernel
def coupling_residual(A, activation, V, U, below):
    """``A = V - S V_{l-1} - act(U)``, act being `activation`.

    A, V, U (m, d); below (m, d) is ``V_{l-1}``, or None for S = 0.
    """
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            residual = V[i, j] - activation.value(U[i, j])
            A[i, j] = residual if below is None else residual - below[i, j]


@kernel
def preactivation_subgradient(activation, U, A, R, gamma, rho, sample_weight=None):
    """``sum_i c_i |rho R_i - gamma act'(U_i) A_i|^2``, in float64: the subgradient in U.

    A (m, d) from `coupling_residual`, R (m, d) the linear residual. At a kink, ``u = 0``, the
    subdifferential is the interval between the slopes of both sides, or these two numbers where
    F has a local maximum there. act is `activation`, c is `sample_weight` (m,).
    """
    T = U.dtype.type
    tiny = T(np.finfo(U.dtype).tiny)
    total = 0.0
    for i in range(U.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        for j in range(U.shape[1]):
            # u - tiny and u + tiny equal u unless u = 0.
            scaled_residual, a = rho * np.float64(R[i, j]), gamma * np.float64(A[i, j])
            left = scaled_residual - a * np.float64(activation.derivative(U[i, j] - tiny))
            right = scaled_residual - a * np.float64(activation.derivative(U[i, j] + tiny))
            if left <= right:
                g = _nearest_to_zero(left, right)
            else:
                g = min(abs(left), abs(right))
            total += c * (g * g)
    return total


@kernel
def penalty_subgradient(penalty, W, G, sample_weight=None):
    """``sum_i c_i |G_i + dr(W_i)|^2``, in float64, r being `penalty`.

    W (m, d), G (m, d) the smooth gradient, c is `sample_weight` (m,) float64, 1 for each where it
    is None.
    """
    total = 0.0
    for i in range(W.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        for j in range(W.shape[1]):
            low, high = penalty.subdifferential(np.float64(W[i, j]))
            g = _nearest_to_zero(G[i, j] + low, G[i, j] + high)
            total += c * (g * g)
    return total


@kernel
def output_subgradient(loss, penalty, V, G, Y, work, sample_weight=None):
    """``sum_i c_i |G_i + d(loss + s)(V_i)|^2``, in float64, s being `penalty`.

    V, G, Y (m, k): states, gradient of the smooth part, targets; work (2, k) or more, float64;
    c is `sample_weight` (m,) float64, 1 for each where it is None.
    """
    total = 0.0
    low, high = work[0], work[1]
    for i in range(V.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        loss.row_subdifferential(low, high, V[i], Y[i])
        for j in range(V.shape[1]):
            s_low, s_high = penalty.subdifferential(np.float64(V[i, j]))
            g = _nearest_to_zero(G[i, j] + (low[j] + s_low), G[i, j] + (high[j] + s_high))
            total += c * (g * g)
    return total
