"""Linear activation: ``act(u) = u``, the identity."""

from __future__ import annotations

from fastbcd.kernels.formula import Formula
from fastbcd.kernels.jit import scalar


@scalar
def _value(u, p):
    return u


@scalar
def _derivative(u, p):
    return type(u)(1)


@scalar
def _curvature(v, p):
    return 1.0


@scalar
def _prox(a, c, q, p):
    T = type(c)
    return (a + q * c) / (T(1) + q)


LINEAR = Formula("linear", value=_value, derivative=_derivative, curvature=_curvature, prox=_prox)


def linear() -> Formula:
    """Linear activation, ``act(u) = u``."""
    return LINEAR
