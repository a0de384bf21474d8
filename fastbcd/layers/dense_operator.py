"""The operator ``V -> V^ W^T`` of a dense layer with given weights."""

from __future__ import annotations

from typing import Any

from fastbcd.errors import InputError
from fastbcd.layers.products import products_of


class DenseOperator:
    """``V -> V W^T + bias``: W (d_out, d_in) is a view of the weights, bias (d_out,) a copy."""

    def __init__(self, kernels: Any, weights: Any) -> None:
        if not weights.flags.c_contiguous:
            raise InputError("weights must be C-contiguous; use numpy.ascontiguousarray")
        self._kernels = kernels
        self.W = weights[:, :-1]
        self.bias = weights[:, -1].copy()

    def apply(self, U: Any, V: Any) -> None:
        """``U = V W^T + bias``."""
        products_of(self._kernels, V).affine(U, V, self.W, self.bias)

    def apply_linear(self, U: Any, V: Any) -> None:
        """``U = V W^T``."""
        self._kernels.product_transposed(U, V, self.W, 1.0, 0.0)

    def adjoint(self, V: Any, R: Any) -> None:
        """``V = R W``."""
        self._kernels.product(V, R, self.W, 1.0, 0.0)
