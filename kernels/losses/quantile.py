"""Absolute and quantile loss, whose slopes on both sides of the kink at ``v = y`` are constant.

    loss(v; y) = sum_j below_j max(0, y_j - v_j) + above_j max(0, v_j - y_j)
    prox: y_j, clipped to the interval [c_j - above_j / q, c_j + below_j / q]

For the absolute loss both slopes are 1: its prox is soft thresholding about y.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.formula import number
from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.elementwise import elementwise
from fastbcd.kernels.losses.loss import Loss


@scalar
def _slopes(v, y, below, above):
    # An output at the kink may be off by a few units in the last place.
    slack = 8.0 * np.finfo(np.float64).eps * abs(y)
    return -below if v <= y + slack else above, above if v >= y - slack else -below


@scalar
def _absolute_value(v, y, _):
    return abs(v - y)


@scalar
def _absolute_prox(c, y, q, _):
    return min(max(y, c - 1.0 / q), c + 1.0 / q)


@scalar
def _absolute_subdifferential(v, y, _):
    return _slopes(v, y, 1.0, 1.0)


@scalar
def _quantile_value(v, y, level):
    return level * (y - v) if v < y else (1.0 - level) * (v - y)


@scalar
def _quantile_prox(c, y, q, level):
    return min(max(y, c - (1.0 - level) / q), c + level / q)


@scalar
def _quantile_subdifferential(v, y, level):
    return _slopes(v, y, level, 1.0 - level)


QUANTILE = elementwise(_quantile_value, _quantile_prox, subdifferential=_quantile_subdifferential)
ABSOLUTE = Loss(
    "absolute",
    in_target_units=True,
    stiffness=100.0,
    **elementwise(_absolute_value, _absolute_prox, subdifferential=_absolute_subdifferential),
)


def absolute() -> Loss:
    """Absolute loss, ``loss(v; y) = sum_j |v_j - y_j|``; outputs become medians."""
    return ABSOLUTE


def quantile(*levels: float) -> Loss:
    """Quantile loss, ``sum_j t_j max(0, y_j - v_j) + (1 - t_j) max(0, v_j - y_j)``.

    Parameters
    ----------
    *levels : float
        ``t_j``, between 0 and 1: one for all outputs, or one for each output; default: 0.5. Output
        j becomes the quantile of level t_j.

    Raises
    ------
    ValueError
        A level is not between 0 and 1.
    """
    numbers = tuple(number(level, "quantile") for level in levels or (0.5,))
    for level in numbers:
        if not 0.0 < level < 1.0:
            raise ValueError(f"quantile: a level must lie between 0 and 1, got {level:g}")
    return Loss(
        "quantile",
        parameters=numbers,
        n_outputs=len(numbers) if len(numbers) > 1 else None,
        in_target_units=True,
        stiffness=100.0,
        **QUANTILE,
    )
