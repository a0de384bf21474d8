"""Sigmoid: ``act(u) = 1 / (1 + exp(-u))``."""

from __future__ import annotations

import math

from fastbcd.kernels.activations.stationary import global_prox, sign_change, smooth_activation
from fastbcd.kernels.formula import Formula
from fastbcd.kernels.jit import scalar


@scalar
def evaluate(u):
    """``s = act(u)``, ``act' = s (1 - s)`` and ``act'' = s (1 - s) (1 - 2 s)``."""
    T = type(u)
    one = T(1)
    e = math.exp(-abs(u))
    inverse = one / (one + e)
    d1 = e * inverse * inverse
    tilt = (one - e) * inverse
    if u < T(0):
        return e * inverse, d1, d1 * tilt
    return inverse, d1, -d1 * tilt


@scalar
def slope_bound(a):
    """Bound of h': act'' (a - act), ``|act''| <= 0.0963`` and ``a - act <= a``."""
    return type(a)(0.0963) * a


@scalar
def _rise_of_slope(s, a):
    """Sign of the derivative of h' in s: a cubic, positive at 0 and negative at h's mode."""
    T = type(a)
    one, two, three = T(1), T(2), T(3)
    quadratic = three * s * s - (two + two * a) * s + a
    return (one - two * s) * quadratic + s * (one - s) * (T(6) * s - two - two * a)


_peak = sign_change(_rise_of_slope)


@scalar
def slope_peak(a):
    """Where h' = s (1 - s) (3 s^2 - (2 + 2 a) s + a) is largest and where it is 0; a > 0."""
    T = type(a)
    one = T(1)
    mode = a / (one + a + math.sqrt(a * a - a + one))
    _, peak = _peak(T(0), mode, a)
    return math.log(peak / (one - peak)), math.log(mode / (one - mode))


_upward = global_prox(evaluate, slope_bound, slope_peak)


@scalar
def _curvature(v, p):
    # With s = 1/2 + r, v = 1/2 + b: (1/4 - r^2) (1/4 - 3 r^2 + 2 r b), |2 r (1/4 - r^2)| < 0.0963.
    return 0.0625 + 0.0963 * abs(v - 0.5)


@scalar
def _prox(a, c, q, p):
    T = type(c)
    if a >= evaluate(c)[0]:
        return _upward(a, c, q)
    # act(-u) = 1 - act(u): the mirror image.
    return -_upward(T(1) - a, -c, q)


SIGMOID = smooth_activation("sigmoid", evaluate, _curvature, _prox)


def sigmoid() -> Formula:
    """Sigmoid activation, ``act(u) = 1 / (1 + exp(-u))``."""
    return SIGMOID
