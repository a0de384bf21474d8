"""Softplus: ``act(u) = log(1 + exp(u))``."""

from __future__ import annotations

from fastbcd.kernels.activations.stationary import (
    MAX_STEPS,
    global_prox,
    gradient_root,
    quick_prox,
    smooth_activation,
)
from fastbcd.kernels.exponential import exp_and_expm1, log1p_of_fraction
from fastbcd.kernels.formula import Formula
from fastbcd.kernels.jit import scalar, straight
from fastbcd.kernels.plain import math


@straight
def evaluate(u):
    """``act(u)``, ``act' = s = sigmoid(u)`` and ``act'' = s (1 - s)``."""
    T = type(u)
    one = T(1)
    e, _ = exp_and_expm1(-abs(u))
    inverse = one / (one + e)
    s = e * inverse if u < T(0) else inverse
    return max(u, T(0)) + log1p_of_fraction(e), s, e * inverse * inverse


@straight
def _single(a, act, d1, q):
    # On c's upper side h' <= act'' (a - act), act'' <= 1/4; h falls at c where it lies beyond
    # the mode. On its lower side g increases.
    T = type(a)
    residual = a - act
    return (residual <= T(0)) | (q >= T(0.25) * residual) | ((T(1) - d1) * residual <= d1)


@scalar
def _mode(a):
    """The u of the largest h: ``(1 - s) (a - act) = s``, or ``log(1 + x) + x = a``, ``x = e^u``."""
    T = type(a)
    one = T(1)
    x = T(0.5) * a  # log(1 + x) <= x, and the left side is concave: from here on x increases
    for _ in range(MAX_STEPS):
        new = x + (a - x - math.log1p(x)) / (one + one / (one + x))
        if not new > x:
            break
        x = new
    return math.log(x)


_upward = global_prox(evaluate, _single, _mode)
_root = gradient_root(evaluate)
# |act'''| <= 0.0963, 3 |act' act''| <= 3/4
_quick = quick_prox(evaluate, _single, (0.0963, 0.75))


@scalar
def _curvature(v, p):
    # s^2 + s (1 - s) (act - v); s^2 + s (1 - s) act < 1.05, s (1 - s) <= 1/4.
    return 1.05 + 0.25 * max(-v, 0.0)


@scalar
def _prox(a, c, q, p):
    act, d1, _ = evaluate(c)
    if a >= act:
        return _upward(a, c, q)
    # Below c g increases, and g(u) <= 0 where q (c - u) >= act'(c) (act(c) - a).
    return _root(c - d1 * (act - a) / q, c, a, c, q)


SOFTPLUS = smooth_activation("softplus", evaluate, _curvature, _prox, _quick)


def softplus() -> Formula:
    """Softplus activation, ``act(u) = log(1 + exp(u))``."""
    return SOFTPLUS
