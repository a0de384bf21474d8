"""Losses of margins, one class against the rest.

``loss(v; y) = sum_j phi(z_j v_j)``, ``z_j = 2 y_j - 1``, for targets y in {0, 1}: each
output j separates class j from the others. With ``m = z v`` and ``m' = z c`` the proximal
operator is ``argmin_m phi(m) + q/2 (m - m')^2``, elementwise, in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.loss import Loss
from fastbcd.kernels.losses.penalised import penalised_prox


def margin_loss(
    name: str,
    phi: Any,
    prox: Any,
    derivative: Any = None,
    targets: str = "binary",
    lipschitz: float | None = None,
    subdifferential: Any = None,
) -> Loss:
    """Make a `Loss` of scalars ``phi(m)``, ``prox(m', q)`` and the slope of phi.

    The slope is ``derivative(m)`` where phi is smooth, else ``subdifferential(m)``: the ends of
    the interval of slopes.
    """

    @scalar
    def row_value(v, y, p):
        total = 0.0
        for j in range(v.shape[0]):
            total += phi((2.0 * y[j] - 1.0) * np.float64(v[j]))
        return total

    @scalar
    def row_prox(out, center, work, y, q, p):
        for j in range(out.shape[0]):
            z = 2.0 * y[j] - 1.0
            out[j] = z * prox(z * np.float64(center[j]), np.float64(q))

    @scalar
    def output_prox(x, q, y, _):
        z = 2.0 * y - 1.0
        return z * prox(z * x, q)

    solve = penalised_prox(output_prox)

    @scalar
    def row_prox_penalised(out, center, work, y, q, penalty, p):
        for j in range(out.shape[0]):
            out[j] = solve(np.float64(center[j]), np.float64(q), penalty, np.float64(y[j]), 0.0)

    functions = {
        "row_value": row_value,
        "row_prox": row_prox,
        "row_prox_penalised": row_prox_penalised,
    }
    if subdifferential is not None:

        @scalar
        def row_subdifferential(low, high, v, y, p):
            for j in range(v.shape[0]):
                z = 2.0 * y[j] - 1.0
                left, right = subdifferential(z * np.float64(v[j]))
                low[j], high[j] = min(z * left, z * right), max(z * left, z * right)

        functions["row_subdifferential"] = row_subdifferential
    if derivative is not None:

        @scalar
        def row_gradient(out, v, y, p):
            for j in range(v.shape[0]):
                z = 2.0 * y[j] - 1.0
                out[j] = z * derivative(z * np.float64(v[j]))

        functions["row_gradient"] = row_gradient
    return Loss(name, targets, lipschitz, **functions)
