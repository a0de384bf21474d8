"""Cross-entropy of a softmax: ``loss(v; y) = log(sum_j exp(v_j)) - sum_j y_j v_j``."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.exponential import excess
from fastbcd.kernels.losses.loss import Loss
from fastbcd.kernels.losses.penalised import bracketed_root, penalised_prox
from fastbcd.kernels.plain import math

MAX_STEPS = 100


@scalar
def _log_sum_exp(v):
    largest = np.float64(v[0])
    for j in range(1, v.shape[0]):
        largest = max(largest, np.float64(v[j]))
    total = 0.0
    for j in range(v.shape[0]):
        total += math.exp(v[j] - largest)
    return largest + math.log(total)


@scalar
def _row_value(v, y, p):
    # As sum_j y_j = 1, each v_j can be taken relative to the logarithm: nothing cancels.
    logarithm, total = _log_sum_exp(v), 0.0
    for j in range(v.shape[0]):
        total += y[j] * (logarithm - v[j])
    return total


@scalar
def _row_gradient(out, v, y, p):
    logarithm = _log_sum_exp(v)
    for j in range(v.shape[0]):
        out[j] = math.exp(v[j] - logarithm) - y[j]


@scalar
def _proximal_value(v, center, y, q):
    total = _row_value(v, y, ())
    for j in range(v.shape[0]):
        total += 0.5 * q * (v[j] - center[j]) * (v[j] - center[j])
    return total


@scalar
def _slope(s, rest, y):
    """``s - y``, given ``rest = 1 - s``, without cancellation where y is 0 or 1."""
    return s * (1.0 - y) - y * rest


@scalar
def _start(v, center, y, q):
    """Bring v within about 1e-3 of the minimiser, at any distance of it from `center`."""
    # Given t = log sum_j exp(v_j) each s_j = q w_j, w_j the excess of an exponential loss. Their
    # sum is convex and falls with t: from where the largest s_j is 1 Newton never overshoots.
    t = -np.inf
    for j in range(v.shape[0]):
        t = max(t, center[j] - (1.0 - y[j]) / q)
    for _ in range(50):
        total, slope = -1.0, 0.0
        for j in range(v.shape[0]):
            w = excess(t - center[j] - y[j] / q, q)
            v[j] = center[j] + (y[j] / q - w)
            total += q * w
            slope += q * w / (1.0 + w)
        t += total / slope
        if total <= 1e-3 * slope:
            break


@scalar
def _row_prox(out, center, work, y, q, p):
    # Newton with the Hessian diag(s + q) - s s^T, s = softmax(v), by Sherman-Morrison; in
    # float64 throughout. 1 - sum s^2 / (s + q) = q sum s / (s + q) does not cancel.
    # Where one class holds nearly all of s, its `1 - s` is the sum of the others.
    # The iterate lives in `work`, so that it is not rounded to the type of `out`.
    k = out.shape[0]
    v, direction = work[0], work[1]
    for j in range(k):
        v[j] = center[j]
    value, last = _proximal_value(v, center, y, q), np.inf
    for i in range(2 * MAX_STEPS):
        if i == MAX_STEPS:
            # Armijo's rule allowed short steps only: soft targets, distant centers, a small q.
            _start(v, center, y, q)
            value, last = _proximal_value(v, center, y, q), np.inf
        logarithm, top = _log_sum_exp(v), 0
        for j in range(1, k):
            if v[j] > v[top]:
                top = j
        others = 0.0
        for j in range(k):
            if j != top:
                others += math.exp(v[j] - logarithm)
        numerator = denominator = 0.0
        for j in range(k):
            s = math.exp(v[j] - logarithm)
            direction[j] = _slope(s, others if j == top else 1.0 - s, y[j]) + q * (v[j] - center[j])
            numerator += s * direction[j] / (s + q)
            denominator += q * s / (s + q)
        slope = size = largest = 0.0
        for j in range(k):
            s, g = math.exp(v[j] - logarithm), direction[j]
            direction[j] = (g + s * (numerator / denominator)) / (s + q)
            slope += g * direction[j]
            size = max(size, abs(v[j]))
            largest = max(largest, abs(direction[j]))
        # Armijo's rule; the full step near the minimum, where rounding hides the decrease.
        t, resolved = 1.0, slope > 1e-13 * (abs(value) + size)
        for _ in range(60):
            for j in range(k):
                v[j] -= t * direction[j]
            new = _proximal_value(v, center, y, q)
            if not resolved or new <= value - 0.25 * t * slope:
                break
            for j in range(k):
                v[j] += t * direction[j]
            t *= 0.5
        value = new
        if largest <= 2e-16 * size or (not resolved and largest >= last):
            break
        last = largest
    for j in range(k):
        out[j] = v[j]


@scalar
def _output_prox(x, q, y, t):
    # argmin_v exp(v - t) - y v + q/2 (v - x)^2
    shifted = x + y / q
    return shifted - excess(t - shifted, q)


_penalised_output = penalised_prox(_output_prox)


@scalar
def _missing_probability(t, center, y, q, penalty, v):
    """``sum_j exp(v_j - t) - 1`` for the v that is optimal given ``t = log sum_j exp(v_j)``."""
    total = -1.0
    for j in range(center.shape[0]):
        v[j] = _penalised_output(np.float64(center[j]), np.float64(q), penalty, np.float64(y[j]), t)
        total += math.exp(v[j] - t)
    return total


_normaliser = bracketed_root(_missing_probability)


@scalar
def _row_prox_penalised(out, center, work, y, q, penalty, p):
    # Given t = log sum_j exp(v_j) the outputs are independent; t is a falling function's root.
    v = work[0]
    for j in range(out.shape[0]):
        v[j] = penalty.prox(np.float64(center[j]), 1.0 / q)
    t = _normaliser(_log_sum_exp(v), 1.0, center, y, q, penalty, v)
    _missing_probability(t, center, y, q, penalty, v)
    for j in range(out.shape[0]):
        out[j] = v[j]


CROSS_ENTROPY = Loss(
    "cross_entropy",
    targets="distribution",
    lipschitz=0.5,
    row_value=_row_value,
    row_gradient=_row_gradient,
    row_prox=_row_prox,
    row_prox_penalised=_row_prox_penalised,
)


def cross_entropy() -> Loss:
    """Cross-entropy of the softmax of v, ``log(sum_j exp(v_j)) - sum_j y_j v_j``."""
    return CROSS_ENTROPY
