"""Leaky ReLU: ``act(u) = u`` for ``u > 0``, ``slope * u`` otherwise."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.formula import Formula, number
from fastbcd.kernels.jit import scalar


@scalar
def _value(u, p):
    T = type(u)
    return u if u > T(0) else T(p[0]) * u


@scalar
def _derivative(u, p):
    T = type(u)
    return T(1) if u > T(0) else T(p[0])


@scalar
def _curvature(v, p):
    # As for ReLU.
    return 1.0 if v >= 0.0 else np.inf


@scalar
def _prox(a, c, q, p):
    # As for ReLU, with (a - s u)^2 + q (u - c)^2 on u <= 0.
    T = type(c)
    zero, one, s = T(0), T(1), T(p[0])
    upper = max(zero, (a + q * c) / (one + q))
    lower = min(zero, (s * a + q * c) / (s * s + q))
    residual_upper, residual_lower = a - upper, a - s * lower
    f_upper = residual_upper * residual_upper + q * (upper - c) * (upper - c)
    f_lower = residual_lower * residual_lower + q * (lower - c) * (lower - c)
    return upper if f_upper < f_lower else lower


def leaky_relu(slope: float = 0.01) -> Formula:
    """Leaky ReLU activation, ``act(u) = max(u, slope * u)``, with ``0 <= slope < 1``.

    Raises
    ------
    ValueError
        If `slope` is outside [0, 1).
    """
    slope = number(slope, "leaky_relu")
    if not 0 <= slope < 1:
        raise ValueError(f"leaky_relu: slope must be in [0, 1), got {slope}")
    return Formula(
        "leaky_relu",
        (slope,),
        value=_value,
        derivative=_derivative,
        curvature=_curvature,
        prox=_prox,
    )
