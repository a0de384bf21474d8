"""Squared loss: ``loss(v; y) = 1/2 |v - y|^2``."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.formula import Formula
from fastbcd.kernels.jit import scalar


@scalar
def _row_value(v, y, p):
    total = 0.0
    for j in range(v.shape[0]):
        miss = np.float64(v[j]) - np.float64(y[j])
        total += miss * miss
    return 0.5 * total


@scalar
def _row_prox(out, center, y, q, p):
    T = type(center[0])
    share = T(q / (1.0 + q))
    for j in range(out.shape[0]):
        out[j] = y[j] + share * (center[j] - y[j])


SQUARED = Formula("squared", row_value=_row_value, row_prox=_row_prox)


def squared() -> Formula:
    """Squared loss, ``loss(v; y) = 1/2 |v - y|^2``; its prox is ``(y + q c) / (1 + q)``."""
    return SQUARED
