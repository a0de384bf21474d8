"""Logistic loss: ``phi(m) = log(1 + exp(-m))`` of the margin."""

from __future__ import annotations

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.loss import Loss
from fastbcd.kernels.losses.margin import margin_loss
from fastbcd.kernels.plain import math


@scalar
def _phi(m):
    return max(-m, 0.0) + math.log1p(math.exp(-abs(m)))


@scalar
def _derivative(m):
    e = math.exp(-abs(m))
    return -(1.0 if m < 0.0 else e) / (1.0 + e)


@scalar
def _prox(center, q):
    # q (m - center) = 1 / (1 + exp(m)): the left side rises, the right side falls.
    low, high = center, center + 1.0 / q
    m = center
    last = before_last = high - low
    for _ in range(200):
        d = _derivative(m)
        g = q * (m - center) + d
        if g > 0.0:
            high = m
        else:
            low = m
        new = m - g / (q - d * (1.0 + d))
        # Newton, unless it leaves the bracket or is slower than bisection.
        if new != m and (not (low < new < high) or abs(new - m) > 0.5 * before_last):
            new = low + 0.5 * (high - low)
        before_last, last = last, abs(new - m)
        if new == m or abs(new - m) <= 2e-16 * abs(new):
            return new
        m = new
    return m


LOGISTIC = margin_loss("logistic", _phi, _prox, _derivative, "two classes", lipschitz=0.25)
LOGISTIC_OVR = margin_loss("logistic_ovr", _phi, _prox, _derivative, lipschitz=0.25)


def logistic() -> Loss:
    """Logistic loss for two classes, ``sum_j log(1 + exp(-(2 y_j - 1) v_j))``."""
    return LOGISTIC


def logistic_ovr() -> Loss:
    """Logistic loss of each class against the rest, for any number of classes."""
    return LOGISTIC_OVR
