"""Tweedie loss of the logarithm of a mean, with a power p between 1 and 2.

``phi(v, y) = exp(a v)/a + y exp(-b v)/b`` plus what y alone decides, ``a = 2 - p, b = p - 1``.
The constant makes 0 the least value, so that the loss is half the deviance. It lies between the
Poisson loss (p = 1) and the gamma loss (p = 2), and allows y = 0: sums of a Poisson number of gamma
variables, such as the claims of a year.
"""

from __future__ import annotations

from fastbcd.kernels.formula import number
from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.elementwise import elementwise
from fastbcd.kernels.losses.exponential import excess
from fastbcd.kernels.losses.loss import Loss
from fastbcd.kernels.plain import math


@scalar
def _value(v, y, power):
    a, b = 2.0 - power, power - 1.0
    if y == 0.0:
        return math.exp(a * v) / a
    d, scale = v - math.log(y), y**a
    if abs(d) < 1.0:  # this form does not cancel, the other one does not overflow early
        return scale * (math.expm1(a * d) / a + math.expm1(-b * d) / b)
    return math.exp(a * v) / a + y * math.exp(-b * v) / b - scale / (a * b)


@scalar
def _derivative(v, y, power):
    return math.exp((2.0 - power) * v) - y * math.exp((1.0 - power) * v)


@scalar
def _prox(c, y, q, power):
    a, b = 2.0 - power, power - 1.0
    if y == 0.0:  # w = a v minimises exp(w) + (q / a) (w - a c)^2 / 2
        return c - excess(-a * c, q / a) / a
    # With d = v - log(y) and e = c - log(y) the slope is
    # g(d) = y^a (expm1(a d) - expm1(-b d)) + q (d - e). It rises, is concave below the inflection
    # d = 2 log(b / a) and convex above. So from a bound of the root on the outer side of it,
    # Newton's method comes nearer with each step and never passes the root.
    logarithm = math.log(y)
    e, scale, inflection = c - logarithm, y**a, 2.0 * math.log(b / a)
    bend = scale * (math.expm1(a * inflection) - math.expm1(-b * inflection))
    if bend + q * (inflection - e) <= 0.0:  # the root is above
        side = 1.0
        d = min(e, math.log1p(q / scale * e) / a) if e > 0.0 else 0.0
    else:
        side = -1.0
        d = max(e, -math.log1p(-q / scale * e) / b) if e < 0.0 else 0.0
    for _ in range(100):
        slope = scale * (math.expm1(a * d) - math.expm1(-b * d)) + q * (d - e)
        step = slope / (scale * (a * math.exp(a * d) + b * math.exp(-b * d)) + q)
        d -= step
        if not side * step > 2e-16 * abs(d):
            break
    return logarithm + d


TWEEDIE = elementwise(_value, _prox, _derivative)


def tweedie(power: float = 1.5) -> Loss:
    """Tweedie loss, half the deviance of ``mean_j = exp(v_j)`` for y not negative.

    With ``a = 2 - power`` and ``b = power - 1`` it is
    ``sum_j exp(a v_j)/a + y_j exp(-b v_j)/b - y_j^a/(a b)``. The variance of y is proportional to
    ``mean^power``.

    Raises
    ------
    ValueError
        `power` does not lie between 1 (which is `poisson`) and 2 (which is `gamma`).
    """
    power = number(power, "tweedie")
    if not 1.0 < power < 2.0:
        raise ValueError(
            f"tweedie: the power must lie between 1 (poisson) and 2 (gamma), got {power:g}"
        )
    return Loss(
        "tweedie",
        targets="not negative",
        parameters=(power,),
        log_link=True,
        stiffness=100.0,
        **TWEEDIE,
    )
