"""Hyperbolic tangent: ``act(u) = tanh(u)``."""

from __future__ import annotations

from fastbcd.kernels.activations.stationary import global_prox, quick_prox, smooth_activation
from fastbcd.kernels.exponential import exp_and_expm1
from fastbcd.kernels.formula import Formula
from fastbcd.kernels.jit import scalar, straight
from fastbcd.kernels.plain import math


@straight
def evaluate(u):
    """``t = act(u)``, ``act' = 1 - t^2`` and ``act'' = -2 t (1 - t^2)``."""
    T = type(u)
    one, two = T(1), T(2)
    e, m = exp_and_expm1(-two * abs(u))
    inverse = one / (two + m)
    t = -m * inverse
    d1 = T(4) * e * inverse * inverse
    t = -t if u < T(0) else t
    return t, d1, -two * t * d1


@straight
def _mode_of_act(a):
    """The t at which ``h = (1 - t^2) (a - t)`` is largest."""
    T = type(a)
    root = math.sqrt(a * a + T(3))
    return (a - root) / T(3) if a < T(0) else -T(1) / (a + root)


@straight
def _single(a, act, d1, q):
    # The largest h' = (1 - t^2) (3 t^2 - 2 b t - 1) is a convex function of b, 1/3 at 0 and
    # 0.9623 at 1; it grows by 0.77 b at most, and for b < 0 only t <= b < 0 matter, where it
    # is at most 1/3. act'' <= 0.77 bounds it, too. act is odd: the mirror image.
    T = type(a)
    above = a >= act
    b = a if above else -a
    t = act if above else -act
    chord = T(0.3334) + T(0.6291) * max(b, T(0))
    bound = min(max(chord, T(0.77) * b + T(0.1925)), T(0.77) * abs(a - act))
    return (q >= bound) | (t >= _mode_of_act(b))


@scalar
def _mode(a):
    return math.atanh(_mode_of_act(a))


_upward = global_prox(evaluate, _single, _mode)
# |act'''| <= 2, 3 |act' act''| <= 3 0.77
_quick = quick_prox(evaluate, _single, (2.0, 2.31))


@scalar
def _curvature(v, p):
    # (1 - t^2) (1 - 3 t^2 + 2 t v), |2 t (1 - t^2)| < 0.77.
    return 1.0 + 0.77 * abs(v)


@scalar
def _prox(a, c, q, p):
    if a >= evaluate(c)[0]:
        return _upward(a, c, q)
    return -_upward(-a, -c, q)


TANH = smooth_activation("tanh", evaluate, _curvature, _prox, _quick)


def tanh() -> Formula:
    """Hyperbolic tangent as an activation: the case ``act = tanh``."""
    return TANH
