"""Weights of one layer as the kernels take them, and the operator of the V-block below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd import kernels
from fastbcd.devices.tiles import Scratch
from fastbcd.errors import InputError

ForEachBlock = Callable[[int, Callable[[slice], None]], None]


class Layer:
    """``W`` (d_out, d_in) without its bias column, as a view, and ``bias`` (d_out,), as a copy."""

    M: NDArray[Any]
    """``W (k I + W^T W)^-1`` (d_out, d_in), once `prepare_operator` has been called."""

    def __init__(self, weights: NDArray[Any]) -> None:
        if not weights.flags.c_contiguous:
            raise InputError("weights must be C-contiguous; use numpy.ascontiguousarray")
        self.W = weights[:, :-1]
        self.bias = np.ascontiguousarray(weights[:, -1])

    def prepare_operator(self, k: float, for_each_block: ForEachBlock, scratch: Scratch) -> None:
        """Factor the smaller side in float64, then solve for M block by block.

        M lies in `scratch`: it lasts until the next layer prepares its own.
        """
        d_out, d_in = self.W.shape
        tall = d_out < d_in
        side = min(d_out, d_in)
        # The W-blocks' memory, idle now.
        W, info = scratch.array("cross", self.W.shape, np.float64), np.zeros(1, np.int32)
        W[:] = self.W
        factor = scratch.array("factor", (side, side), np.float64)
        kernels.state_factor(factor, W, k, info)
        if info[0] != 0:
            raise FloatingPointError(
                "the V-block cannot be factored: the weights are not finite any more"
            )
        self.M = scratch.array("operator", (d_out, d_in), self.bias.dtype)

        def solve(block: slice) -> None:
            part = (slice(None), block) if tall else (block, slice(None))
            kernels.state_operator(self.M[part], W[part], factor, tall, np.zeros(1, np.int32))

        for_each_block(d_in if tall else d_out, solve)
