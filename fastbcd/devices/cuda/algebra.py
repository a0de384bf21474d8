"""Kernels of the GPU and products of cuBLAS under one roof: the names that solvers call."""

from __future__ import annotations

from typing import Any

from fastbcd.kernels import cuda as kernels


class Kernels:
    """Functions with the names and arguments of `fastbcd.kernels`, on arrays of the GPU."""

    def __init__(self, library: Any, scratch: Any) -> None:
        self._library, self._scratch = library, scratch

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

    def step_weights(
        self, W: Any, S: Any, work: Any, directions: Any, size: Any, keep: float
    ) -> None:
        """``W = keep W + size (S - work directions)``; see `fastbcd.kernels.step_weights`.

        size may be an element on the GPU.
        """
        if hasattr(size, "reshape"):
            size = size.reshape(1)
        leading = None
        if len(directions):
            leading = self._scratch.array("along directions", W.shape, W.dtype)
            self._library.gemm(leading, work, directions)
        kernels.step_weights_along(W, S, leading, size, keep)

    def prox_weights(self, W: Any, penalty: Any, length: Any) -> None:
        """``W = argmin_Z r(Z) + 1/(2 length) |Z - W|^2``; see `fastbcd.kernels.prox_weights`."""
        kernels.prox_weights(W, penalty, length.reshape(1))
