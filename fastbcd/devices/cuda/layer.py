"""Weights of one layer on the GPU, and the operator of the V-block below."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels import cuda as kernels


class Layer:
    """``W`` (d_out, d_in) without its bias column, as a view, and ``bias`` (d_out,), as a copy."""

    M: Any
    """``W (k I + W^T W)^-1`` (d_out, d_in), once `prepare_operator` has been called."""

    def __init__(self, weights: Any) -> None:
        self.W = weights[:, :-1]
        self.bias = weights[:, -1].copy()

    def prepare_operator(self, k: Any, library: Any, scratch: Any) -> None:
        """Factor the smaller side in float64, then solve for M; k a number, or one on the GPU."""
        d_out, d_in = self.W.shape
        tall, side = d_out < d_in, min(d_out, d_in)
        W = scratch.array("cross", self.W.shape, np.float64)
        W[...] = self.W
        factor = scratch.array("factor", (side, side), np.float64)
        library.gram(factor, W, of_rows=tall)
        kernels.shift_diagonal(factor, k)
        library.cholesky(factor)
        if tall:
            library.cholesky_solve_columns(W, factor)
        else:
            library.cholesky_solve(W, factor)
        self.M = scratch.array("operator", (d_out, d_in), self.bias.dtype)
        self.M[...] = W
