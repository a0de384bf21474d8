"""Constraints: an interval, ``r(w) = 0`` in [low, high] and infinite outside."""

from __future__ import annotations

import math

import numpy as np

from fastbcd.kernels.formula import number
from fastbcd.kernels.jit import scalar
from fastbcd.kernels.penalties.penalty import Penalty

# A bound that was rounded to float32 may lie outside by half a unit in its last place.
ROUNDING = 2.0**-24


@scalar
def _value(w, p):
    slack_low, slack_high = ROUNDING * abs(p[0]), ROUNDING * abs(p[1])
    return 0.0 if p[0] - slack_low <= w <= p[1] + slack_high else np.inf


@scalar
def _shrink(c, step, p):
    return min(max(c, p[0]), p[1])


@scalar
def _subdifferential(w, p):
    # The slopes of a wall: all that point outwards.
    at_low, at_high = w <= p[0] + ROUNDING * abs(p[0]), w >= p[1] - ROUNDING * abs(p[1])
    return -np.inf if at_low else 0.0, np.inf if at_high else 0.0


def box(low: float, high: float) -> Penalty:
    """Values in the interval [low, high]; `ValueError` unless ``low <= high``, both finite."""
    low, high = number(low, "box"), number(high, "box")
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"box: needs two numbers, the lower one first, got {low:g}, {high:g}")
    return Penalty(
        *("box", (low, high)), value=_value, shrink=_shrink, subdifferential=_subdifferential
    )


@scalar
def _nonnegative_value(w, p):
    return 0.0 if w >= 0.0 else np.inf


@scalar
def _nonnegative_shrink(c, step, p):
    return max(c, 0.0)


@scalar
def _nonnegative_subdifferential(w, p):
    return -np.inf if w <= 0.0 else 0.0, 0.0


def nonnegative() -> Penalty:
    """Values that are not negative."""
    return Penalty(
        "nonnegative",
        value=_nonnegative_value,
        shrink=_nonnegative_shrink,
        subdifferential=_nonnegative_subdifferential,
    )
