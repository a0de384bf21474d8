"""ReLU: ``act(u) = max(u, 0)``."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.formula import Formula
from fastbcd.kernels.jit import scalar


@scalar
def _value(u, p):
    # max(u, 0) would be 0 on a GPU where u is not a number.
    T = type(u)
    return T(0) if u < T(0) else u


@scalar
def _derivative(u, p):
    T = type(u)
    return T(1) if u > T(0) else T(0)


@scalar
def _curvature(v, p):
    # For v < 0 the kink of (v - act(z))^2 at 0 turns upwards: no parabola lies above it.
    return 1.0 if v >= 0.0 else np.inf


@scalar
def _prox(a, c, q, p):
    # On u >= 0 the function is (a - u)^2 + q (u - c)^2, on u <= 0 it is
    # a^2 + q (u - c)^2: each has one minimiser, and the better of the two wins.
    T = type(c)
    zero, one = T(0), T(1)
    upper = max(zero, (a + q * c) / (one + q))
    lower = min(zero, c)
    residual = a - upper
    f_upper = residual * residual + q * (upper - c) * (upper - c)
    f_lower = a * a + q * (lower - c) * (lower - c)
    return upper if f_upper < f_lower else lower


RELU = Formula("relu", value=_value, derivative=_derivative, curvature=_curvature, prox=_prox)


def relu() -> Formula:
    """ReLU activation, ``act(u) = max(u, 0)``."""
    return RELU
