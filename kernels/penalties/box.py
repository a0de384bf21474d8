"""Constraints: ``r(w) = 0`` in the interval [low, high], infinite outside."""

from __future__ import annotations

import math

import numpy as np

from fastbcd.kernels.formula import number
from fastbcd.kernels.jit import scalar
from fastbcd.kernels.penalties.penalty import Penalty

# A value at a bound may lie outside by half a unit in its last place, once rounded to float32.
ROUNDING = 2.0**-24


@scalar
def _value(w, p):
    slack_low, slack_high = ROUNDING * abs(p[0]), ROUNDING * abs(p[1])
    return 0.0 if p[0] - slack_low <= w <= p[1] + slack_high else np.inf


@scalar
def _prox(c, step, p):
    return min(max(c, p[0]), p[1])


@scalar
def _subdifferential(w, p):
    # At a bound every slope that points outwards is a subgradient.
    at_low, at_high = w <= p[0] + ROUNDING * abs(p[0]), w >= p[1] - ROUNDING * abs(p[1])
    return -np.inf if at_low else 0.0, np.inf if at_high else 0.0


def box(low: float, high: float) -> Penalty:
    """``low <= w <= high``; `ValueError` unless ``low <= high`` and both are finite."""
    low, high = number(low, "box"), number(high, "box")
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"box: needs two numbers, the lower one first, got {low:g}, {high:g}")
    return Penalty("box", (low, high), value=_value, prox=_prox, subdifferential=_subdifferential)


@scalar
def _nonnegative_value(w, p):
    return 0.0 if w >= 0.0 else np.inf


@scalar
def _nonnegative_prox(c, step, p):
    return max(c, 0.0)


@scalar
def _nonnegative_subdifferential(w, p):
    return -np.inf if w <= 0.0 else 0.0, 0.0


def nonnegative() -> Penalty:
    """``w >= 0``."""
    return Penalty(
        "nonnegative",
        value=_nonnegative_value,
        prox=_nonnegative_prox,
        subdifferential=_nonnegative_subdifferential,
    )
