"""Algorithm 1's nonlinear blocks: a surrogate of ``1/2 (v - act(z))^2``, then a line search.

With ``h(z) = 1/2 (v - act(z))^2`` and a curvature c the surrogate is the parabola

    c/2 (z - t)^2 + const,    t = z0 - h'(z0) / c,    h'(z) = act'(z) (act(z) - v)

which touches h at z0. With t in place of pre-activations the W- and V-blocks are the solves
of Algorithm 2. If c bounds the curvature of h, the parabola lies above h and its minimiser
descends. A line search towards the minimiser descends in any case. It searches each row of W
(over all samples) and each sample of V separately, as their objectives are independent.
The old value stays where no step descends by more than rounding.
"""

from __future__ import annotations

import math

import numpy as np

from fastbcd.kernels.jit import kernel, scalar, straight

MAX_HALVINGS = 14


@kernel
def curvature_bound(activation, V, Z):
    """The largest ``activation.curvature`` at V; where infinite, ``act'(Z)^2`` instead.

    V, Z (m, d); float64.
    """
    largest = 0.0
    for i in range(V.shape[0]):
        for j in range(V.shape[1]):
            bound = activation.curvature(np.float64(V[i, j]))
            if not np.isfinite(bound):
                slope = np.float64(activation.derivative(Z[i, j]))
                bound = slope * slope
            largest = max(largest, bound)
    return largest


@kernel
def surrogate_residual(R, activation, V, Z, curvature):
    """``R = t - Z = act'(Z) (V - act(Z)) / curvature``, act being `activation`.

    R, V, Z (m, d); R may be Z. With curvature 1 it is ``-h'(Z)``.
    """
    inverse = R.dtype.type(1.0 / curvature)
    for i in range(R.shape[0]):
        for j in range(R.shape[1]):
            z = Z[i, j]
            R[i, j] = inverse * activation.derivative(z) * (V[i, j] - activation.value(z))


@kernel
def proximal_center(C, A, V, gamma, alpha):
    """``C = (gamma A + alpha V) / (gamma + alpha)``; C, A, V (m, d)."""
    T = C.dtype.type
    share_a, share_v = T(gamma / (gamma + alpha)), T(alpha / (gamma + alpha))
    for i in range(C.shape[0]):
        for j in range(C.shape[1]):
            C[i, j] = share_a * A[i, j] + share_v * V[i, j]


@scalar
def _state_value(v, end, t, center, z, dz, activation, v_next, penalty, kappa, gamma):
    """F of one sample in the V-block at ``v + t (end - v)``; the next layer has ``z + t dz``."""
    total = 0.0
    for j in range(v.shape[0]):
        x = np.float64(v[j]) + t * (np.float64(end[j]) - np.float64(v[j]))
        gap = x - np.float64(center[j])
        total += 0.5 * kappa * gap * gap + penalty.value(end[j] if t == 1.0 else x)
    through = 0.0
    for j in range(z.shape[0]):
        residual = np.float64(v_next[j]) - np.float64(
            activation.value(z[j] + type(z[j])(t) * dz[j])
        )
        through += residual * residual
    return total + 0.5 * gamma * through


@straight  # a call would pass the arrays of each sample
def _search_state(v, end, center, z, dz, activation, v_next, penalty, kappa, gamma, noise):
    """Move one sample v towards `end`, and z with it, by the best of a few steps."""
    start = _state_value(v, end, 0.0, center, z, dz, activation, v_next, penalty, kappa, gamma)
    t = 1.0
    best = _state_value(v, end, t, center, z, dz, activation, v_next, penalty, kappa, gamma)
    if best < start:
        for _ in range(3):
            twice = 2.0 * t
            other = _state_value(
                v, end, twice, center, z, dz, activation, v_next, penalty, kappa, gamma
            )
            if not other < best:
                break
            t, best = twice, other
    else:
        for _ in range(MAX_HALVINGS):
            t *= 0.5
            best = _state_value(v, end, t, center, z, dz, activation, v_next, penalty, kappa, gamma)
            if best < start:
                break
    # Outside the penalty's domain `start` is infinite: any step into the domain is taken.
    if not (best < start and (math.isinf(start) or best < start - noise * abs(start))):
        return
    for j in range(v.shape[0]):
        # The surrogate's minimiser has exact zeros and lies within the bounds. Other steps are
        # projected, as rounding may have put them outside.
        if t == 1.0:
            v[j] = end[j]
        else:
            x = np.float64(v[j]) + t * (np.float64(end[j]) - np.float64(v[j]))
            v[j] = penalty.prox(x, 0.0)
    for j in range(z.shape[0]):
        z[j] += type(z[j])(t) * dz[j]


@kernel
def search_states(V, end, center, Z, dZ, activation, V_next, penalty, kappa, gamma):
    """``s(v) + kappa/2 |v - center|^2 + gamma/2 |v_next - act(z)|^2``, line search from v to `end`.

    Each sample moves in place, by the best of a few steps; it stays where none descends.

    Parameters
    ----------
    V, end, center : (m, d) arrays, float32 or float64
        States, the minimiser of the surrogate, and the center of the quadratic term.
    Z, dZ : (m, d_next) arrays
        ``V^ W_next^T``, updated with V, and ``(end - V) W_next^T``.
    activation : Formula
        Activation of the next layer.
    V_next : (m, d_next) array
    penalty : Formula
    kappa, gamma : float
    """
    noise = 4.0 * np.finfo(V.dtype).eps
    for i in range(V.shape[0]):
        v, e, c, z, dz, v_next = V[i], end[i], center[i], Z[i], dZ[i], V_next[i]
        _search_state(v, e, c, z, dz, activation, v_next, penalty, kappa, gamma, noise)


@kernel
def state_terms(V, A, penalty, Z, activation, V_next, gamma, sample_weight=None):
    """``sum_i c_i (s(V_i) + gamma/2 |V_i - A_i|^2 + gamma/2 |V_next,i - act(Z_i)|^2)``, in float64.

    V, A (m, d); Z, V_next (m, d_next); s is `penalty`, act `activation`; c is `sample_weight`
    (m,) float64, 1 for each where it is None.
    """
    total = 0.0
    for i in range(V.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        # The step is 0, so that `end` and dz do not matter.
        total += c * _state_value(
            V[i], V[i], 0.0, A[i], Z[i], Z[i], activation, V_next[i], penalty, gamma, gamma
        )
    return total


@kernel
def add_row_sums(sums, activation, V, Z, dZ, steps, sample_weight=None):
    """``sums[k, j] += sum_i c_i (V[i, j] - act(Z[i, j] + steps[k] dZ[i, j]))^2``.

    sums (n_steps, d) float64; V, Z, dZ (m, d); steps (n_steps,); act is `activation`; c is
    `sample_weight` (m,) float64, 1 for each where it is None.
    """
    T = Z.dtype.type
    for i in range(V.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        for k in range(steps.shape[0]):
            t = T(steps[k])
            for j in range(V.shape[1]):
                residual = V[i, j] - activation.value(Z[i, j] + t * dZ[i, j])
                sums[k, j] += c * np.float64(residual * residual)


@scalar
def _penalty_at(penalty, w, end, t, noise):
    """``r(w + t (end - w))``; infinite where that point is outside of the domain of r.

    The formulas of constraints let pass what the rounding to float32 may have put outside, as it
    may have done with w (t = 0) and `end` (t = 1). Other points are projected once they are
    chosen, so no more than `noise`, relative to the point, may be outside.
    """
    x = w + t * (end - w)
    if t == 0.0 or t == 1.0:
        return penalty.value(w if t == 0.0 else end)
    return penalty.value(x) if abs(penalty.prox(x, 0.0) - x) <= noise * abs(x) else np.inf


@kernel
def search_rows(W, end, sums, steps, penalty, gamma, alpha, decrease):
    """``gamma/2 sums[k, j] + r(w) + alpha/2 |w - w'|^2``: each row j of W takes the best step k.

    Row j moves in place, ``w = w' + steps[k] (end - w')``.

    Parameters
    ----------
    W, end : (d, d_in + 1) arrays, float32 or float64
        Weights with the bias in the last column, and the minimiser of the surrogate.
    sums : (n_steps, d) float64 array
        From `add_row_sums`.
    steps : (n_steps,) float64 array
        The first is 0: no step.
    penalty : Formula
    gamma, alpha : float
    decrease : (2,) float64 array or None
        The decrease of ``gamma/2 sums + r`` and the squared step are added to it.
    """
    last = W.shape[1] - 1
    noise = 4.0 * np.finfo(W.dtype).eps
    for i in range(W.shape[0]):
        length = 0.0
        for j in range(W.shape[1]):
            change = np.float64(end[i, j]) - np.float64(W[i, j])
            length += change * change
        start = best = fallen = 0.0
        chosen = 0.0
        for k in range(steps.shape[0]):
            t = steps[k]
            value = 0.5 * gamma * sums[k, i]
            for j in range(last):
                value += _penalty_at(penalty, np.float64(W[i, j]), np.float64(end[i, j]), t, noise)
            proximal = value + 0.5 * alpha * t * t * length
            if k == 0:
                start = best = value
            elif proximal < best and proximal < start - noise * abs(start):
                best, chosen, fallen = proximal, t, start - value
        if chosen == 0.0:
            continue
        if decrease is not None:
            decrease[0] += fallen
            decrease[1] += chosen * chosen * length
        for j in range(W.shape[1]):
            if chosen == 1.0:
                W[i, j] = end[i, j]
            else:
                w = np.float64(W[i, j])
                w += chosen * (np.float64(end[i, j]) - w)
                W[i, j] = penalty.prox(w, 0.0) if j < last else w
