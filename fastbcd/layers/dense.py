"""The dense layer: ``U = V^ W^T`` with ``V^ = [V, 1]``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.protocol import Device
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.kernels import Penalty
from fastbcd.kernels.dense import times
from fastbcd.layers.base import Layer
from fastbcd.layers.dense_operator import DenseOperator
from fastbcd.layers.dense_states import DenseStateBlock
from fastbcd.layers.normal_equations import CrossProduct, NormalEquations
from fastbcd.layers.products import SparseProducts, products_of


@dataclass(frozen=True)
class Dense(Layer):
    """``U = V^ W^T``: V (m, d_in), W (d_out, d_in + 1) with the bias in its last column.

    With ridge penalties its blocks are linear solves; see `NormalEquations`, `DenseStateBlock`. In
    mini-batches and predictions V may be sparse, which costs a multiplication for each number of V
    that is not 0 and each output.
    """

    name: ClassVar[str] = "dense"
    takes_sparse: ClassVar[bool] = True
    d_in: int
    d_out: int

    @property
    def weight_shape(self) -> tuple[int, int]:
        """``(d_out, d_in + 1)``."""
        return self.d_out, self.d_in + 1

    def linear_part(self, V: Any, W: NDArray[Any]) -> NDArray[Any]:
        """Return ``V W^T``, W without its bias column; the type is that of W if V is sparse."""
        if not isinstance(V, SparseRows):
            return times(V, W[:, :-1].T.astype(V.dtype))
        U = np.empty((len(V), self.d_out), W.dtype)
        SparseProducts.affine(U, V.astype(W.dtype), W[:, :-1], np.zeros(self.d_out, W.dtype))
        return U

    def resized(self, d_in: int, d_out: int) -> Dense:
        """Return a dense layer of these sizes."""
        return Dense(d_in, d_out)

    @property
    def multiplications(self) -> int:
        """``d_in d_out``."""
        return self.d_in * self.d_out

    def on(self, device: Device, W: Any) -> DenseOperator:
        """See `DenseOperator`."""
        return DenseOperator(device.kernels, W)

    def state_block(
        self,
        device: Device,
        W: Any,
        penalty: Penalty,
        kappa: Any,
        rho: Any,
        measured: bool = False,
    ) -> DenseStateBlock:
        """See `DenseStateBlock`."""
        return DenseStateBlock(device, self.on(device, W), penalty, kappa, rho, measured)

    def weight_block(self, device: Device, same_inputs: bool) -> NormalEquations:
        """See `NormalEquations`."""
        return NormalEquations(device, self.weight_shape, same_inputs)

    def cross_sum(self, device: Device) -> CrossProduct:
        """See `CrossProduct`."""
        return CrossProduct(device, self.weight_shape)

    def batch_apply(self, kernels: Any, U: Any, V: Any, W: Any) -> None:
        """``U = V^ W^T``."""
        products_of(kernels, V).product_transposed(U, V, W, 1.0, 0.0)

    def batch_adjoint(
        self, kernels: Any, D: Any, R: Any, V: Any, W: Any, scale: Any, keep: float
    ) -> None:
        """``D = scale R W + keep D``, W without its bias column."""
        kernels.product(D, R, W[:, :-1], scale, keep)

    def batch_gradient(self, kernels: Any, N: Any, D: Any, V: Any, scale: Any, keep: float) -> None:
        """``N = scale D^T V^ + keep N``."""
        products_of(kernels, V).transposed_product(N, D, V, scale, keep)

    def batch_project(self, kernels: Any, out: Any, V: Any, Q: Any) -> None:
        """``out = V^ Q``."""
        products_of(kernels, V).product(out, V, Q, 1.0, 0.0)

    def batch_sketch(
        self, kernels: Any, out: Any, V: Any, Q: Any, projected: Any, scale: float, keep: float
    ) -> Any:
        """``out = scale V^^T V^ Q + keep out``; returns ``|V^|^2``."""
        products = products_of(kernels, V)
        products.transposed_product(out, V, projected, scale, keep)
        return products.squared_norm(V)

    def gain(self, kernels: Any, W: Any) -> float:
        """Return ``|W|_F / sqrt(d_in)``, W without its bias column."""
        return math.sqrt(float(kernels.squared_norm(W[:, :-1])) / self.d_in)
