"""Hinge loss: ``phi(m) = max(0, 1 - m)`` of the margin."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.loss import Loss
from fastbcd.kernels.losses.margin import margin_loss


@scalar
def _phi(m):
    return max(0.0, 1.0 - m)


@scalar
def _prox(center, q):
    # The slope of phi is 0 beyond the kink; before it the step is 1/q, up to the kink.
    return center if center >= 1.0 else min(1.0, center + 1.0 / q)


@scalar
def _subdifferential(m):
    # An output at the kink may be off by a few units in the last place.
    slack = 8.0 * np.finfo(np.float64).eps
    return -1.0 if m <= 1.0 + slack else 0.0, 0.0 if m >= 1.0 - slack else -1.0


HINGE = margin_loss("hinge", _phi, _prox, subdifferential=_subdifferential)


def hinge() -> Loss:
    """Hinge loss, ``sum_j max(0, 1 - (2 y_j - 1) v_j)``."""
    return HINGE
