"""What a layer type has to offer: its linear operator, and the blocks that contain it.

A layer computes ``U_l = A_l(V_{l-1}; W_l)``, linear in ``V^ = [V, 1]`` and linear in W. Solvers,
initialisation, prediction, certificate and cost model ask the layer for all that depends on A.
CONTRIBUTING.md has the recipe for a new type; `fastbcd.layers.dense` is the example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.kernels import Penalty

Array = Any
"""An array of a device."""


class Operator(Protocol):
    """``V -> A(V; W)`` for given weights, which lie on a device."""

    def apply(self, U: Array, V: Array) -> None:
        """``U = A(V; W)``: V (m, d_in), U (m, d_out)."""

    def apply_linear(self, U: Array, V: Array) -> None:
        """The same without the bias: ``A(V; W) - A(0; W)``."""

    def adjoint(self, V: Array, R: Array) -> None:
        """``V = A*(R; W)``, the gradient of ``<R, A(V; W)>`` in V: R (m, d_out), V (m, d_in)."""


class StateBlock(Protocol):
    """``argmin_V s(V) + kappa/2 |V - C|^2 + rho/2 |U - A(V; W)|^2``, for any samples."""

    @property
    def operator(self) -> Operator:
        """``V -> A(V; W)``."""

    @property
    def penalty(self) -> Penalty:
        """S."""

    @property
    def scale(self) -> Any:
        """C is multiplied with this before `solve` gets it: a ridge in s is merged with it.

        A number, or one for each column of V.
        """

    def center(self, tile: Tile, V: Array, measured: bool) -> Array:
        """Memory for C: V's own, unless the solve still needs the old V."""

    def solve(
        self, tile: Tile, V: Array, C: Array, U: Array, decrease: Array, *sample_weight: Array
    ) -> None:
        """Replace V (m, d_in) of a tile by the minimiser.

        C (m, d_in) comes multiplied with `scale`; U (m, d_out). Where `decrease` (2,) is not None,
        the decrease of the function above and ``|V - V'|^2`` are added to it, and each sample
        counts its weight (m,).
        """


class WeightBlock(Protocol):
    """``argmin_W weight/2 |U - A(V; W)|^2 + alpha/2 |W - W'|^2 + r(W)``, from sums over samples."""

    def start(self, keep_gram: bool) -> None:
        """Empty the sums. What depends on V alone stays on `keep_gram`, if it is complete."""

    def add(self, tile: Tile, R: Array, V: Array, *sample_weight: Array) -> None:
        """Add the samples of a tile: ``R = U - A(V; W')`` (m, d_out), V (m, d_in)."""

    def solve(self, W: Array, weight: Any, penalty: Penalty, alpha: float, decrease: Array) -> None:
        """Replace W by the minimiser.

        Where `decrease` (2,) is not None, the decrease of the function above without its proximal
        term, and ``|W - W'|^2``, are added to it.
        """

    def divide_residuals(self, divisor: Any) -> None:
        """Let the residuals that were added count 1 / divisor times."""

    def finish(self) -> None:
        """Give memory back; the sums are gone but for those that the next `start` keeps."""


class CrossSum(Protocol):
    """``sum_i c_i grad_W <r_i, A(v_i; W)>`` over samples, added up tile by tile."""

    def multiply(self, tile: Tile, R: Array, V: Array, number: int, *sample_weight: Array) -> Any:
        """The product of one tile; `number` tells products of one tile apart."""

    def add(self, product: Any) -> None:
        """Add what `multiply` returned, in the tile's turn."""

    def total(self) -> Array:
        """The sum over the samples of all ranks, of the shape of W; to be called once."""


class Layer(ABC):
    """A layer type with its sizes; it holds no weights."""

    name: ClassVar[str]
    """What files and messages call the type."""
    d_in: int
    d_out: int

    @property
    @abstractmethod
    def weight_shape(self) -> tuple[int, int]:
        """Shape of W, its last column being the bias; (0, 0) for a layer without weights."""

    @property
    def has_weights(self) -> bool:
        """Whether there is something to learn."""
        return self.weight_shape[0] > 0

    @abstractmethod
    def initial_weights(
        self, rng: np.random.Generator, deviation: float, bias: float, dtype: np.dtype
    ) -> NDArray[np.floating]:
        """W with entries of N(0, deviation^2), drawn in float64, and biases that are `bias`."""

    @abstractmethod
    def linear_part(self, V: NDArray[Any], W: NDArray[Any]) -> NDArray[Any]:
        """``A(V; W) - A(0; W)`` in NumPy, in the type of V (m, d_in): slow and obvious."""

    @abstractmethod
    def resized(self, d_in: int, d_out: int) -> Layer:
        """The same type with other sizes; `fastbcd.warmup` compiles with narrow ones."""

    @property
    @abstractmethod
    def multiplications(self) -> int:
        """Multiplications of ``A(v; W)`` for one sample."""

    # -- full batches -------------------------------------------------------------------------

    @abstractmethod
    def on(self, device: Device, W: Array) -> Operator:
        """The operator with the weights W, an array of `device`."""

    @abstractmethod
    def state_block(
        self, device: Device, W: Array, penalty: Penalty, kappa: Any, rho: Any
    ) -> StateBlock:
        """The block of the states below this layer, ready for all samples; kappa, rho > 0.

        kappa is a number, or an array (d_in,) with one for each column of V.
        """

    @abstractmethod
    def weight_block(self, device: Device, same_inputs: bool) -> WeightBlock:
        """The block of this layer's weights.

        With `same_inputs` V is the same in every iteration: what depends on V alone has memory of
        its own and serves all of them.
        """

    @abstractmethod
    def cross_sum(self, device: Device) -> CrossSum:
        """An empty sum for the gradient in W."""

    # -- mini-batches -------------------------------------------------------------------------
    # States come with their column of ones: ``V^`` (m, d_in + 1).

    @abstractmethod
    def batch_apply(self, kernels: Any, U: Array, V: Array, W: Array) -> None:
        """``U = A(V; W)`` for ``V^``."""

    @abstractmethod
    def batch_adjoint(
        self, kernels: Any, D: Array, R: Array, W: Array, scale: Any, keep: float
    ) -> None:
        """``D = scale A*(R; W) + keep D``: R (m, d_out), D (m, d_in)."""

    @abstractmethod
    def batch_gradient(
        self, kernels: Any, N: Array, D: Array, V: Array, scale: Any, keep: float
    ) -> None:
        """``N = scale grad_W <D, A(V; W)> + keep N``, for rows of W and columns of D."""

    @abstractmethod
    def gain(self, kernels: Any, W: Array) -> float:
        """``rms(A*(D; W)) / rms(D)`` for a random D (m, d_out)."""
