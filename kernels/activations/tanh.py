"""Hyperbolic tangent: ``act(u) = tanh(u)``."""

from __future__ import annotations

import math

from fastbcd.kernels.activations.stationary import global_prox, sign_change, smooth_activation
from fastbcd.kernels.formula import Formula
from fastbcd.kernels.jit import scalar


@scalar
def evaluate(u):
    """``t = act(u)``, ``act' = 1 - t^2`` and ``act'' = -2 t (1 - t^2)``."""
    T = type(u)
    one, two = T(1), T(2)
    m = math.expm1(-two * abs(u))  # exp(-2 |u|) - 1, accurate near 0
    inverse = one / (two + m)
    t = -m * inverse
    d1 = T(4) * (one + m) * inverse * inverse
    if u < T(0):
        t = -t
    return t, d1, -two * t * d1


@scalar
def slope_bound(a):
    """Bound of h': act'' (a - act), ``|act''| <= 0.77`` and ``a - act <= a + 1``."""
    T = type(a)
    return T(0.77) * (a + T(1))


@scalar
def _rise_of_slope(t, a):
    """Sign of the derivative of h' in t: a cubic, positive at -1 and negative at h's mode."""
    T = type(a)
    one, two, three = T(1), T(2), T(3)
    quadratic = three * t * t - two * a * t - one
    return -two * t * quadratic + (one - t * t) * (T(6) * t - two * a)


_peak = sign_change(_rise_of_slope)


@scalar
def slope_peak(a):
    """Where h' = (1 - t^2) (3 t^2 - 2 a t - 1) is largest and where it is 0; a > -1."""
    T = type(a)
    one, three = T(1), T(3)
    root = math.sqrt(a * a + three)
    mode = (a - root) / three if a < T(0) else -one / (a + root)
    _, peak = _peak(-one, mode, a)
    return math.atanh(peak), math.atanh(mode)


_upward = global_prox(evaluate, slope_bound, slope_peak)


@scalar
def _curvature(v, p):
    # (1 - t^2) (1 - 3 t^2 + 2 t v), |2 t (1 - t^2)| < 0.77.
    return 1.0 + 0.77 * abs(v)


@scalar
def _prox(a, c, q, p):
    if a >= evaluate(c)[0]:
        return _upward(a, c, q)
    # act is odd: the mirror image.
    return -_upward(-a, -c, q)


TANH = smooth_activation("tanh", evaluate, _curvature, _prox)


def tanh() -> Formula:
    """Hyperbolic tangent as an activation: the case ``act = tanh``."""
    return TANH
