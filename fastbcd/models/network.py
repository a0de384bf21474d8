"""The trained network: weights and activations, and its forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbcd.data.validation import check_inputs
from fastbcd.devices import CPU
from fastbcd.devices.tiles import Tile
from fastbcd.errors import InputError
from fastbcd.kernels import Formula
from fastbcd.support.floating_point import own_errstate, own_errstate_in
from fastbcd.support.parameters import check_dtype


@own_errstate_in
class Network:
    """``V_l = S_l V_{l-1} + act_l(V^_{l-1} W_l^T)``, ``V_0 = X``, for l = 1..L.

    Parameters
    ----------
    W : sequence of (d_l, d_{l-1} + 1) arrays, l = 1..L
        float32 or float64; the last column holds the biases.
    activations : sequence of Formula, l = 1..L
    residual : sequence of bool, l = 1..L
        ``S_l``.

    Raises
    ------
    InputError
        The widths of two layers disagree, or weights are neither float32 nor float64.
    """

    @own_errstate
    def __init__(
        self,
        W: Sequence[NDArray[Any]],
        activations: Sequence[Formula],
        residual: Sequence[bool],
    ) -> None:
        # Kernels need the machine's byte order.
        dtype = check_dtype(np.asarray(W[0]).dtype)
        self.W = [np.ascontiguousarray(w, dtype) for w in W]
        for l, (below, own) in enumerate(pairwise(self.W), start=2):
            if own.shape[1] != len(below) + 1:
                raise InputError(
                    f"W_{l} has {own.shape[1]} columns; needed: the {len(below)} outputs of layer "
                    f"{l - 1} and a bias"
                )
        self.activations = list(activations)
        self.residual = list(residual)

    @property
    def widths(self) -> tuple[int, ...]:
        """``(d_0, ..., d_L)``."""
        return (self.W[0].shape[1] - 1, *(len(W) for W in self.W))

    def forward(self, X: ArrayLike, n_threads: int | None = None) -> NDArray[Any]:
        """Compute the outputs V_L (n, d_L) for inputs X (n, d_0), in the type of the weights.

        `n_threads` is as in `fastbcd.ThreeSplitting`. An X that does not fit is an `InputError`.
        """
        device, dtype = CPU(n_threads), self.W[0].dtype
        inputs = device.array(check_inputs(device.as_input(X), self.widths[0]), dtype)
        outputs = np.empty((len(inputs), self.widths[-1]), dtype)
        layers = [device.layer(W) for W in self.W]

        def through_layers(tile: Tile) -> None:
            V = inputs[tile.rows]
            for l, layer in enumerate(layers):
                # Two work arrays take turns, because a product must not overwrite its own input.
                B = device.forward(tile, layer, V, name=f"V{l % 2}")
                device.kernels.activate(B, self.activations[l], B, V if self.residual[l] else None)
                V = B
            outputs[tile.rows] = V

        with device.session():
            device.for_each_tile(len(inputs), self.widths, dtype, through_layers)
        return outputs
