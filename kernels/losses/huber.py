"""Huber loss: ``phi(r) = r^2 / 2`` where ``|r| <= delta``, else ``delta (|r| - delta / 2)``."""

from __future__ import annotations

import math

from fastbcd.kernels.formula import number
from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.elementwise import elementwise
from fastbcd.kernels.losses.loss import Loss


@scalar
def _value(v, y, delta):
    r = abs(v - y)
    return 0.5 * r * r if r <= delta else delta * (r - 0.5 * delta)


@scalar
def _derivative(v, y, delta):
    return min(max(v - y, -delta), delta)


@scalar
def _prox(c, y, q, delta):
    # The minimiser of the quadratic, unless it lies where the slope is constant.
    v = (y + q * c) / (1.0 + q)
    if v - y > delta:
        return c - delta / q
    return c + delta / q if v - y < -delta else v


HUBER = elementwise(_value, _prox, _derivative)


def huber(delta: float = 1.0) -> Loss:
    """Huber loss, ``sum_j r_j^2 / 2`` of ``r = v - y``, or ``delta (|r_j| - delta / 2)`` beyond.

    Raises
    ------
    ValueError
        `delta` is not a finite number above 0.
    """
    delta = number(delta, "huber")
    if not (delta > 0.0 and math.isfinite(delta)):
        raise ValueError(f"huber: delta must be a finite number above 0, got {delta:g}")
    return Loss(
        "huber",
        lipschitz=1.0,
        parameters=(delta,),
        in_target_units=True,
        stiffness=100.0,
        **HUBER,
    )
