"""Kernels of the GPU and products of cuBLAS under one roof: the names that solvers call."""

from __future__ import annotations

from typing import Any

from fastbcd.kernels import cuda as kernels


class Kernels:
    """Functions with the names and arguments of `fastbcd.kernels`, on arrays of the GPU."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Any:
        return getattr(kernels, name)

    def product(self, out: Any, A: Any, B: Any, scale: Any, keep: float) -> None:
        """``out = scale A B + keep out``; see `fastbcd.kernels.product`."""
        self._library.gemm(out, A, B, scale, keep)

    def product_transposed(self, out: Any, A: Any, B: Any, scale: Any, keep: float) -> None:
        """``out = scale A B^T + keep out``; see `fastbcd.kernels.product_transposed`."""
        self._library.gemm(out, A, B, scale, keep, transpose_B=True)

    def transposed_product(self, out: Any, A: Any, B: Any, scale: Any, keep: float) -> None:
        """``out = scale A^T B + keep out``; see `fastbcd.kernels.transposed_product`."""
        self._library.gemm(out, A, B, scale, keep, transpose_A=True)

    def affine(self, out: Any, V: Any, W: Any, bias: Any) -> None:
        """``out = V W^T + bias``; see `fastbcd.kernels.affine`."""
        kernels.residual_of_bias(out, None, bias)
        self.product_transposed(out, V, W, 1.0, 1.0)
