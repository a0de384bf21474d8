"""Softplus: ``act(u) = log(1 + exp(u))``."""

from __future__ import annotations

import math

from fastbcd.kernels.activations.sigmoid import evaluate as evaluate_sigmoid
from fastbcd.kernels.activations.stationary import (
    global_prox,
    gradient_root,
    sign_change,
    smooth_activation,
)
from fastbcd.kernels.formula import Formula
from fastbcd.kernels.jit import scalar


@scalar
def evaluate(u):
    """``act(u)``, ``act' = s = sigmoid(u)`` and ``act'' = s (1 - s)``."""
    T = type(u)
    s, d1, _ = evaluate_sigmoid(u)
    return max(u, T(0)) + math.log1p(math.exp(-abs(u))), s, d1


@scalar
def slope_bound(a):
    """Bound of h': act'' (a - act), ``act'' <= 1/4`` and ``a - act <= a``."""
    return type(a)(0.25) * a


@scalar
def _before_peak(u, a):
    """Positive where h' rises."""
    T = type(a)
    act, s, _ = evaluate(u)
    return (T(1) - T(2) * s) * (a - act) - T(3) * s


@scalar
def _before_mode(u, a):
    """Positive where h rises."""
    act, s, _ = evaluate(u)
    return (type(a)(1) - s) * (a - act) - s


_peak, _mode = sign_change(_before_peak), sign_change(_before_mode)


@scalar
def slope_peak(a):
    """Where h' = s (1 - s) (a - act) - s^2 is largest and where it is 0; a > 0."""
    T = type(a)
    # Both functions fall; they are positive at `start` and negative at `stop`, act^-1(a).
    start = math.log(a / (T(8) + T(8) * a))
    stop = a + math.log(-math.expm1(-a)) if a < T(20) else a
    peak, _ = _peak(start, stop, a)
    _, mode = _mode(peak, stop, a)
    return peak, mode


_root = gradient_root(evaluate)
_upward = global_prox(evaluate, slope_bound, slope_peak)


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


SOFTPLUS = smooth_activation("softplus", evaluate, _curvature, _prox)


def softplus() -> Formula:
    """Softplus activation, ``act(u) = log(1 + exp(u))``."""
    return SOFTPLUS
