"""The trained network: weights and activations, and its forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbcd.data.sparse import check_first_layer, is_sparse, sparse_rows
from fastbcd.data.validation import check_sparse_or_dense
from fastbcd.devices import CPU
from fastbcd.devices.protocol import Device
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.errors import InputError
from fastbcd.kernels import Formula
from fastbcd.layers import Dense, Layer
from fastbcd.layers.neighbours import check_neighbours
from fastbcd.support.floating_point import own_errstate, own_errstate_in
from fastbcd.support.parameters import check_dtype


class StateWork(Workspace):
    """Work array of a tile: the pre-activations, then the states, of one layer."""

    U: Buffer


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
    layers : sequence of Layer, l = 1..L, optional
        Default: dense layers of the sizes of W.

    Raises
    ------
    InputError
        The widths or the images of two layers disagree, or weights are neither float32 nor float64.
    """

    @own_errstate
    def __init__(
        self,
        W: Sequence[NDArray[Any]],
        activations: Sequence[Formula],
        residual: Sequence[bool],
        layers: Sequence[Layer] | None = None,
    ) -> None:
        # Kernels need the machine's byte order.
        dtype = check_dtype(np.asarray(W[0]).dtype)
        self.W = [np.ascontiguousarray(w, dtype) for w in W]
        for l, (below, own) in enumerate(pairwise(self.W), start=2):
            if layers is None and own.shape[1] != len(below) + 1:
                raise InputError(
                    f"W_{l} has {own.shape[1]} columns; needed: the {len(below)} outputs of layer "
                    f"{l - 1} and a bias"
                )
        if layers is None:
            layers = [Dense(w.shape[1] - 1, len(w)) for w in self.W]
        check_neighbours(layers)
        self.layers = list(layers)
        self.activations = list(activations)
        self.residual = list(residual)
        pieces = zip(self.residual, self.layers, strict=True)
        self.skips = [layer.skip if residual else None for residual, layer in pieces]

    @property
    def widths(self) -> tuple[int, ...]:
        """``(d_0, ..., d_L)``."""
        return (self.layers[0].d_in, *(layer.d_out for layer in self.layers))

    def forward(self, X: ArrayLike, n_threads: int | None = None) -> NDArray[Any]:
        """Compute the outputs V_L (n, d_L) for inputs X (n, d_0), in the type of the weights.

        X may be a sparse matrix of SciPy if the first layer is dense.

        `n_threads` is as in `fastbcd.ThreeSplitting`. An X that does not fit is an `InputError`.
        """
        device = CPU(n_threads)
        inputs: Any = device.as_input(X)
        if is_sparse(inputs):
            inputs = sparse_rows(inputs, "X")
            check_first_layer(self.layers[0], self.residual[0])
        inputs = check_sparse_or_dense(inputs, self.widths[0])
        with device.session():
            return self.outputs(device, inputs)

    def outputs(self, device: Device, X: Any) -> Any:
        """Outputs V_L (n, d_L) for samples X, which have been checked, as an array of `device`."""
        dtype, kernels = self.W[0].dtype, device.kernels
        inputs = X.astype(dtype) if isinstance(X, SparseRows) else device.array(X, dtype)
        outputs = device.empty((len(inputs), self.widths[-1]), dtype)
        weights = [device.array(W, dtype) for W in self.W]
        operators = [layer.on(device, W) for layer, W in zip(self.layers, weights, strict=True)]

        def through_layers(tile: Tile) -> None:
            V = inputs[tile.rows]
            for l, (layer, operator) in enumerate(zip(self.layers, operators, strict=True)):
                # Two work arrays in turn: a product must not overwrite its own input.
                U = tile.work.of(StateWork, l % 2).U.array((len(V), layer.d_out), dtype)
                operator.apply(U, V)
                skip = self.skips[l]
                below = None if skip is None else skip.apply(tile, V)
                kernels.activate(U, self.activations[l], U, below)
                V = U
            outputs[tile.rows] = V

        device.for_each_tile(len(inputs), self.widths, dtype, through_layers)
        return outputs
