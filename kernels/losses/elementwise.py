"""Losses that are sums over outputs, ``loss(v; y) = sum_j phi(v_j, y_j)``.

The proximal operator is ``argmin_v phi(v, y) + q/2 (v - c)^2``, elementwise, in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.loss import single_slope
from fastbcd.kernels.losses.penalised import penalised_prox


@scalar
def _parameter(p, j):
    """The parameter of output j: its own, or the one of all outputs."""
    return p[j] if len(p) > 1 else p[0]


def elementwise(
    value: Any, prox: Any, derivative: Any = None, subdifferential: Any = None
) -> dict[str, Any]:
    """Make the functions of a `Loss` of scalars ``phi(v, y, a)`` and ``prox(c, y, q, a)``.

    The slope is ``derivative(v, y, a)`` where phi, here `value`, is smooth in v, else
    ``subdifferential(v, y, a)``: the ends of the interval of slopes. The number a is the
    parameter of the output.
    """

    @scalar
    def row_value(v, y, p):
        total = 0.0
        for j in range(v.shape[0]):
            total += value(np.float64(v[j]), np.float64(y[j]), _parameter(p, j))
        return total

    @scalar
    def row_prox(out, center, work, y, q, p):
        for j in range(out.shape[0]):
            a = _parameter(p, j)
            out[j] = prox(np.float64(center[j]), np.float64(y[j]), np.float64(q), a)

    @scalar
    def output_prox(x, q, y, a):
        return prox(x, y, q, a)

    solve = penalised_prox(output_prox)

    @scalar
    def row_prox_penalised(out, center, work, y, q, penalty, p):
        for j in range(out.shape[0]):
            c, a = np.float64(center[j]), _parameter(p, j)
            out[j] = solve(c, np.float64(q), penalty, np.float64(y[j]), a)

    functions = {
        "row_value": row_value,
        "row_prox": row_prox,
        "row_prox_penalised": row_prox_penalised,
    }
    if subdifferential is not None:

        @scalar
        def row_subdifferential(low, high, v, y, p):
            for j in range(v.shape[0]):
                a = _parameter(p, j)
                low[j], high[j] = subdifferential(np.float64(v[j]), np.float64(y[j]), a)

        functions["row_subdifferential"] = row_subdifferential
    if derivative is not None:

        @scalar
        def row_gradient(out, v, y, p):
            for j in range(v.shape[0]):
                out[j] = derivative(np.float64(v[j]), np.float64(y[j]), _parameter(p, j))

        functions["row_gradient"] = row_gradient
        functions["row_subdifferential"] = single_slope(row_gradient)
    return functions
