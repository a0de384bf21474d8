"""Losses of margins, one class against the rest.

``loss(v; y) = sum_j phi(z_j v_j)``, ``z_j = 2 y_j - 1``, for targets y in {0, 1}: each
output j separates class j from the others. With ``m = z v`` and ``m' = z c`` the proximal
operator is ``argmin_m phi(m) + q/2 (m - m')^2``, a number at a time, in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.loss import Loss


def margin_loss(
    name: str,
    phi: Any,
    prox: Any,
    derivative: Any = None,
    targets: str = "binary",
    lipschitz: float | None = None,
) -> Loss:
    """Make a `Loss` of scalars ``phi(m)``, ``prox(m', q)`` and, where smooth, ``phi'(m)``."""

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

    functions = {"row_value": row_value, "row_prox": row_prox}
    if derivative is not None:

        @scalar
        def row_gradient(out, v, y, p):
            for j in range(v.shape[0]):
                z = 2.0 * y[j] - 1.0
                out[j] = z * derivative(z * np.float64(v[j]))

        functions["row_gradient"] = row_gradient
    return Loss(name, targets, lipschitz, **functions)
