"""Gamma loss of the logarithm of a mean: ``phi(v, y) = y exp(-v) + v - log(y) - 1``, y > 0.

With ``d = v - log(y)`` it is ``exp(-d) - 1 + d``, half the deviance: it depends on the ratio of
the mean to y only.
"""

from __future__ import annotations

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.elementwise import elementwise
from fastbcd.kernels.losses.loss import Loss
from fastbcd.kernels.losses.poisson import departure
from fastbcd.kernels.plain import math


@scalar
def _value(v, y, _):
    d = v - math.log(y)
    return math.expm1(-d) + d


@scalar
def _derivative(v, y, _):
    return -math.expm1(math.log(y) - v)


@scalar
def _prox(c, y, q, _):
    # The slope is -expm1(-d) + q (d - e), e = c - log(y): for -d it is that of the Poisson loss
    # with the target 1.
    logarithm = math.log(y)
    return logarithm - departure(logarithm - c, 1.0, q)


GAMMA = Loss(
    "gamma",
    targets="positive",
    log_link=True,
    stiffness=100.0,
    **elementwise(_value, _prox, _derivative),
)


def gamma() -> Loss:
    """Gamma loss, ``sum_j y_j exp(-v_j) + v_j - log(y_j) - 1``, y above 0; means ``exp(v_j)``."""
    return GAMMA
