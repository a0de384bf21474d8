"""Cross-entropy of a softmax, with label smoothing.

    loss(v; y) = log(sum_j exp(v_j)) - sum_j t_j v_j,   t_j = (1 - smoothing) y_j + smoothing / k

Smoothed targets t add up to 1 like y. So loss, gradient and prox are those of the cross-entropy for
the targets t, and all functions below take t in place of y.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.formula import number
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
def _target(y, j, p):
    """The smoothed target of output j, t_j; without smoothing y_j itself, to the last bit."""
    return (1.0 - p[0]) * y[j] + p[0] / y.shape[0]


@scalar
def _row_value(v, y, p):
    # As sum_j t_j = 1, each v_j can be taken relative to the logarithm: nothing cancels.
    logarithm, total = _log_sum_exp(v), 0.0
    for j in range(v.shape[0]):
        total += _target(y, j, p) * (logarithm - v[j])
    return total


@scalar
def _row_gradient(out, v, y, p):
    logarithm = _log_sum_exp(v)
    for j in range(v.shape[0]):
        out[j] = math.exp(v[j] - logarithm) - _target(y, j, p)


@scalar
def _proximal_value(v, center, y, q, p):
    total = _row_value(v, y, p)
    for j in range(v.shape[0]):
        total += 0.5 * q * (v[j] - center[j]) * (v[j] - center[j])
    return total


@scalar
def _slope(s, rest, t):
    """``s - t``, given ``rest = 1 - s``, without cancellation where t is 0 or 1."""
    return s * (1.0 - t) - t * rest


@scalar
def _start(v, center, y, q, p):
    """Bring v within about 1e-3 of the minimiser, at any distance of it from `center`."""
    # Given z = log sum_j exp(v_j) each s_j = q w_j, w_j the excess of an exponential loss. Their
    # sum is convex and falls with z: from where the largest s_j is 1 Newton never overshoots.
    z = -np.inf
    for j in range(v.shape[0]):
        z = max(z, center[j] - (1.0 - _target(y, j, p)) / q)
    for _ in range(50):
        total, slope = -1.0, 0.0
        for j in range(v.shape[0]):
            t = _target(y, j, p)
            w = excess(z - center[j] - t / q, q)
            v[j] = center[j] + (t / q - w)
            total += q * w
            slope += q * w / (1.0 + w)
        z += total / slope
        if total <= 1e-3 * slope:
            break


@scalar
def _restore_sum(v, center, y, q, p):
    """Shift v so that ``q sum_j (v_j - center_j) = sum_j t_j - 1``, as at the minimiser.

    Rounded t_j add up to 1 only nearly, which a small q would turn into a large shift.
    """
    missing = -1.0
    for j in range(v.shape[0]):
        missing += y[j]
    shift = (1.0 - p[0]) * missing / q
    for j in range(v.shape[0]):
        shift += center[j] - v[j]
    for j in range(v.shape[0]):
        v[j] += shift / v.shape[0]


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
    value, last = _proximal_value(v, center, y, q, p), np.inf
    for i in range(2 * MAX_STEPS):
        if i == MAX_STEPS:
            # Armijo's rule allowed short steps only: soft targets, distant centers, a small q.
            _start(v, center, y, q, p)
            value, last = _proximal_value(v, center, y, q, p), np.inf
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
            gap = _slope(s, others if j == top else 1.0 - s, _target(y, j, p))
            direction[j] = gap + q * (v[j] - center[j])
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
            new = _proximal_value(v, center, y, q, p)
            if not resolved or new <= value - 0.25 * t * slope:
                break
            for j in range(k):
                v[j] += t * direction[j]
            t *= 0.5
        value = new
        if largest <= 2e-16 * size or (not resolved and largest >= last):
            break
        last = largest
    if p[0] > 0.0:
        _restore_sum(v, center, y, q, p)
    for j in range(k):
        out[j] = v[j]


@scalar
def _output_prox(x, q, t, z):
    # argmin_v exp(v - z) - t v + q/2 (v - x)^2
    shifted = x + t / q
    return shifted - excess(z - shifted, q)


_penalised_output = penalised_prox(_output_prox)


@scalar
def _missing_probability(z, center, target, q, penalty, v):
    """``sum_j exp(v_j - z) - 1`` for the v that is optimal given ``z = log sum_j exp(v_j)``."""
    total = -1.0
    for j in range(center.shape[0]):
        v[j] = _penalised_output(np.float64(center[j]), np.float64(q), penalty, target[j], z)
        total += math.exp(v[j] - z)
    return total


_normaliser = bracketed_root(_missing_probability)


@scalar
def _row_prox_penalised(out, center, work, y, q, penalty, p):
    # Given z = log sum_j exp(v_j) the outputs are independent; z is a falling function's root.
    v, target = work[0], work[1]
    for j in range(out.shape[0]):
        v[j] = penalty.prox(np.float64(center[j]), 1.0 / q)
        target[j] = _target(y, j, p)
    z = _normaliser(_log_sum_exp(v), 1.0, center, target, q, penalty, v)
    _missing_probability(z, center, target, q, penalty, v)
    for j in range(out.shape[0]):
        out[j] = v[j]


def _loss(parameters: tuple[float, ...]) -> Loss:
    return Loss(
        "cross_entropy",
        targets="distribution",
        lipschitz=0.5,
        parameters=parameters,
        row_value=_row_value,
        row_gradient=_row_gradient,
        row_prox=_row_prox,
        row_prox_penalised=_row_prox_penalised,
    )


CROSS_ENTROPY = _loss(())


def cross_entropy(smoothing: float = 0.0) -> Loss:
    """Cross-entropy of the softmax of v, ``log(sum_j exp(v_j)) - sum_j t_j v_j``.

    Parameters
    ----------
    smoothing : float, default=0
        Label smoothing: ``t_j = (1 - smoothing) y_j + smoothing / k`` for k outputs. So no output
        is driven to infinity, and the network is less certain of its classes.

    Raises
    ------
    ValueError
        `smoothing` is not at least 0 and below 1.
    """
    smoothing = number(smoothing, "cross_entropy")
    if not 0.0 <= smoothing < 1.0:
        raise ValueError(f"cross_entropy: smoothing must be from 0 to below 1, got {smoothing:g}")
    return _loss((smoothing,)) if smoothing > 0.0 else CROSS_ENTROPY
