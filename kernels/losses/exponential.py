"""Exponential loss: ``phi(m) = exp(-m)`` of the margin."""

from __future__ import annotations

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.loss import Loss
from fastbcd.kernels.losses.margin import margin_loss
from fastbcd.kernels.plain import math


@scalar
def _phi(m):
    return math.exp(-m)


@scalar
def _derivative(m):
    return -math.exp(-m)


@scalar
def excess(center, q):
    """``m - center`` for the m that minimises ``exp(-m) + q/2 (m - center)^2``."""
    # q (m - center) = exp(-m). With w = m - center: w + log(w) = -center - log(q), which
    # neither overflows nor cancels; w is Wright's omega function of the right side.
    right = -center - math.log(q)
    # Newton's method in w where that is well conditioned, in y = log(w) where w is small.
    if right < 1.0:
        y = right if right < -1.0 else right - 0.5
        for _ in range(100):
            w = math.exp(y)
            step = (w + y - right) / (w + 1.0)
            y -= step
            if abs(step) <= 2e-16 * max(abs(y), 1.0):
                break
        return math.exp(y)
    w = right - math.log(max(right, 1.0)) + 0.5
    for _ in range(100):
        step = (w + math.log(w) - right) * w / (w + 1.0)
        w -= step
        if abs(step) <= 2e-16 * w:
            break
    return w


@scalar
def _prox(center, q):
    return center + excess(center, q)


EXPONENTIAL = margin_loss("exponential", _phi, _prox, _derivative)


def exponential() -> Loss:
    """Exponential loss, ``sum_j exp(-(2 y_j - 1) v_j)``."""
    return EXPONENTIAL
