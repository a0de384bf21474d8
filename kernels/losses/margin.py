"""Losses of margins, one class against the rest.

``loss(v; y) = sum_j phi(z_j v_j)``, ``z_j = 2 y_j - 1``, for targets y in {0, 1}: each
output j separates class j from the others. With ``m = z v`` and ``m' = z c`` the proximal
operator is ``argmin_m phi(m) + q/2 (m - m')^2``, elementwise, in float64.
"""

from __future__ import annotations

from typing import Any

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.losses.elementwise import elementwise
from fastbcd.kernels.losses.loss import Loss


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
    def output_value(v, y, _):
        return phi((2.0 * y - 1.0) * v)

    @scalar
    def output_prox(c, y, q, _):
        z = 2.0 * y - 1.0
        return z * prox(z * c, q)

    slopes: dict[str, Any] = {}
    if derivative is not None:

        @scalar
        def output_derivative(v, y, _):
            z = 2.0 * y - 1.0
            return z * derivative(z * v)

        slopes["derivative"] = output_derivative
    if subdifferential is not None:

        @scalar
        def output_subdifferential(v, y, _):
            z = 2.0 * y - 1.0
            left, right = subdifferential(z * v)
            return min(z * left, z * right), max(z * left, z * right)

        slopes["subdifferential"] = output_subdifferential
    return Loss(name, targets, lipschitz, **elementwise(output_value, output_prox, **slopes))
