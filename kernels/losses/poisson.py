"""Poisson loss of the logarithm of a mean: ``phi(v, y) = exp(v) - y v`` plus what y alone decides.

The constant ``y log(y) - y`` makes 0 the least value, so that the loss is half the deviance.
"""

from __future__ import annotations

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.elementwise import elementwise
from fastbcd.kernels.losses.exponential import excess
from fastbcd.kernels.losses.loss import Loss
from fastbcd.kernels.plain import math


@scalar
def _value(v, y, _):
    if y == 0.0:
        return math.exp(v)
    d = v - math.log(y)
    # y (exp(d) - 1 - d): the first form does not cancel, the second one does not overflow early.
    return y * (math.expm1(d) - d) if d < 1.0 else math.exp(v) - y - y * d


@scalar
def _derivative(v, y, _):
    return math.exp(v) - y


@scalar
def departure(e, y, q):
    """``argmin_d y (exp(d) - d) + q/2 (d - e)^2`` for y > 0."""
    # The slope g(d) = y expm1(d) + q (d - e) is convex and rises. So from any d with g(d) >= 0
    # Newton's method falls to the root and never passes it.
    # Above the root: y expm1(d) <= q e where e > 0, and y d <= y expm1(d) for all d.
    d = min(e, math.log1p(q / y * e)) if e > 0.0 else q / (y + q) * e
    for _ in range(100):
        step = (y * math.expm1(d) + q * (d - e)) / (y * math.exp(d) + q)
        d -= step
        if not step > 2e-16 * abs(d):
            break
    return d


@scalar
def _prox(c, y, q, _):
    if y == 0.0:
        return c - excess(-c, q)
    logarithm = math.log(y)
    return logarithm + departure(c - logarithm, y, q)


POISSON = Loss(
    "poisson",
    targets="not negative",
    log_link=True,
    stiffness=100.0,
    **elementwise(_value, _prox, _derivative),
)


def poisson() -> Loss:
    """Poisson loss, ``sum_j exp(v_j) - y_j v_j + (y_j log(y_j) - y_j)``; means ``exp(v_j)``."""
    return POISSON
