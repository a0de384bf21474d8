"""Sigmoid: ``act(u) = 1 / (1 + exp(-u))``."""

from __future__ import annotations

from fastbcd.kernels.activations.stationary import global_prox, quick_prox, smooth_activation
from fastbcd.kernels.exponential import exp_and_expm1
from fastbcd.kernels.formula import Formula
from fastbcd.kernels.jit import scalar, straight
from fastbcd.kernels.plain import math


@straight
def evaluate(u):
    """``s = act(u)``, ``act' = s (1 - s)`` and ``act'' = s (1 - s) (1 - 2 s)``."""
    T = type(u)
    one = T(1)
    e, _ = exp_and_expm1(-abs(u))
    inverse = one / (one + e)
    d1 = e * inverse * inverse
    tilt = (one - e) * inverse
    negative = u < T(0)
    return (e * inverse if negative else inverse), d1, (d1 * tilt if negative else -d1 * tilt)


@straight
def _mode_of_act(a):
    """The s at which ``h = s (1 - s) (a - s)`` is largest."""
    one = type(a)(1)
    return a / (one + a + math.sqrt(a * a - a + one))


@straight
def _single(a, act, d1, q):
    # h' <= act'' (a - act), act'' <= 0.0963; act(-u) = 1 - act(u): the mirror image.
    T = type(a)
    above = a >= act
    b = a if above else T(1) - a
    s = act if above else T(1) - act
    return (q >= T(0.0963) * abs(a - act)) | (s >= _mode_of_act(b))


@scalar
def _mode(a):
    s = _mode_of_act(a)
    return math.log(s / (type(a)(1) - s))


_upward = global_prox(evaluate, _single, _mode)
# |act'''| <= 1/8, 3 |act' act''| <= 3/4 0.0963
_quick = quick_prox(evaluate, _single, (0.125, 0.0723))


@scalar
def _curvature(v, p):
    # With s = 1/2 + r, v = 1/2 + b: (1/4 - r^2) (1/4 - 3 r^2 + 2 r b), |2 r (1/4 - r^2)| < 0.0963.
    return 0.0625 + 0.0963 * abs(v - 0.5)


@scalar
def _prox(a, c, q, p):
    T = type(c)
    if a >= evaluate(c)[0]:
        return _upward(a, c, q)
    return -_upward(T(1) - a, -c, q)


SIGMOID = smooth_activation("sigmoid", evaluate, _curvature, _prox, _quick)


def sigmoid() -> Formula:
    """Sigmoid activation, ``act(u) = 1 / (1 + exp(-u))``."""
    return SIGMOID
