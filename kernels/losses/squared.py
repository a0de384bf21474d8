"""Squared loss: ``loss(v; y) = 1/2 |v - y|^2``."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.loss import Loss


@scalar
def _row_value(v, y, p):
    total = 0.0
    for j in range(v.shape[0]):
        residual = np.float64(v[j]) - np.float64(y[j])
        total += residual * residual
    return 0.5 * total


@scalar
def _row_gradient(out, v, y, p):
    for j in range(v.shape[0]):
        out[j] = v[j] - y[j]


@scalar
def _row_prox(out, center, work, y, q, p):
    for j in range(out.shape[0]):
        out[j] = (y[j] + q * center[j]) / (1.0 + q)


@scalar
def _row_prox_penalised(out, center, work, y, q, penalty, p):
    for j in range(out.shape[0]):
        out[j] = penalty.prox((y[j] + q * center[j]) / (1.0 + q), 1.0 / (1.0 + q))


SQUARED = Loss(
    "squared",
    lipschitz=1.0,
    in_target_units=True,
    row_value=_row_value,
    row_gradient=_row_gradient,
    row_prox=_row_prox,
    row_prox_penalised=_row_prox_penalised,
)


def squared() -> Loss:
    """Squared loss, ``loss(v; y) = 1/2 |v - y|^2``; its prox is ``(y + q c) / (1 + q)``."""
    return SQUARED
