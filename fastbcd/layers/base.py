"""The interface of a layer type: its linear operator, and the blocks that contain it.

A layer computes ``U_l = A_l(V_{l-1}; W_l)``, which is linear in W, and linear in ``V^ = [V, 1]``
unless `Layer.is_linear` is False.
All other code (solvers, initialisation, prediction, certificate, cost model) knows A through
these methods only. Symbols: m samples, R residuals, V' and W' the values before a block's update.
CONTRIBUTING.md has the recipe for a new type; `fastbcd.layers.dense` is the example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.errors import InputError
from fastbcd.kernels import Penalty
from fastbcd.layers.skip import Skip

Array = Any
"""An array of a device."""


class Operator(Protocol):
    """``V -> A(V; W)`` for given weights, which lie on a device."""

    def apply(self, U: Array, V: Array) -> None:
        """``U = A(V; W)``: V (m, d_in), U (m, d_out)."""


class LinearOperator(Operator, Protocol):
    """The operator of a layer that is linear in ``[V, 1]``."""

    def apply_linear(self, U: Array, V: Array) -> None:
        """``U = A(V; W) - A(0; W)``: the operator without its bias."""

    def adjoint(self, V: Array, R: Array) -> None:
        """``V = A*(R; W)``, the gradient of ``<R, A(V; W)>`` in V: R (m, d_out), V (m, d_in)."""


class StateBlock(Protocol):
    """``argmin_V s(V) + kappa/2 |V - C|^2 + rho/2 |U - A(V; W)|^2``, sample by sample.

    The object holds W, s, kappa and rho, which all samples share; `solve` gets V, C and U.
    """

    @property
    def operator(self) -> Operator:
        """The map ``V -> A(V; W)``."""

    @property
    def penalty(self) -> Penalty:
        """The penalty s."""

    @property
    def scale(self) -> Any:
        """The number by which the caller of `solve` multiplies C, one for each column as in kappa.

        ``kappa / (kappa + ridge)`` merges a ridge in s with the term of C; for other s it is 1.
        """

    def center(self, tile: Tile, V: Array) -> Array:
        """Return memory for C, which is V itself unless the solve still needs the old V."""

    def solve(
        self, tile: Tile, V: Array, C: Array, U: Array, decrease: Array, *sample_weight: Array
    ) -> None:
        """Replace V (m, d_in) of a tile by the minimiser.

        C (m, d_in) is already multiplied by `scale`; U (m, d_out). Where `decrease` (2,) is not
        None, the decrease of the function above and ``|V - V'|^2`` are added to it; both are sums
        over samples, weighted by `sample_weight` (m,) where it is given.
        """


class WeightBlock(Protocol):
    """``argmin_W weight/2 |U - A(V; W)|^2 + alpha/2 |W - W'|^2 + r(W)``, from sums over samples."""

    def start(self, keep_gram: bool) -> None:
        """Set the sums to 0; with `keep_gram`, complete sums of V alone are kept."""

    def add(self, tile: Tile, R: Array, V: Array, *sample_weight: Array) -> None:
        """Add the samples of a tile: ``R = U - A(V; W')`` (m, d_out), V (m, d_in)."""

    def solve(self, W: Array, weight: Any, penalty: Penalty, alpha: float, decrease: Array) -> None:
        """Replace W by the minimiser.

        Where `decrease` (2,) is not None, the decrease of the function above without its proximal
        term, and ``|W - W'|^2``, are added to it.
        """

    def divide_residuals(self, divisor: Any) -> None:
        """Divide the residuals that were added by `divisor`."""

    def finish(self) -> None:
        """Give memory back; only the sums that the next `start` may keep stay."""


class CrossSum(Protocol):
    """``sum_i c_i grad_W <r_i, A(v_i; W)>`` over samples with weights c, added up tile by tile."""

    def multiply(self, tile: Tile, R: Array, V: Array, number: int, *sample_weight: Array) -> Any:
        """Return the sum over one tile; `number` tells several sums over the same tile apart."""

    def add(self, product: Any) -> None:
        """Add a `product` that `multiply` returned, when it is the tile's turn."""

    def total(self) -> Array:
        """Return the sum over the samples of all ranks, of the shape of W; call it once."""


class CenterWork(Workspace):
    """Work array of a tile: the center C of a V-block."""

    center: Buffer


class SlopeWork(Workspace):
    """Work array of a tile: ``A*(R; W)``, the share of a layer in the slope of states below it."""

    slope: Buffer


class Layer(ABC):
    """A layer type with its sizes; it holds no weights."""

    name: ClassVar[str]
    """The name of the type in files and messages."""
    needs_processor: ClassVar[bool] = False
    """True for a type that has no kernels on a GPU."""
    is_linear: ClassVar[bool] = True
    """False if A is not linear in ``[V, 1]``. Then the V-block below is not convex: `state_block`
    must find a global minimiser, and full batches add a proximal term to it. Such a type has no
    activation."""
    has_activation: ClassVar[bool] = True
    """False for a type whose activation is always linear; then its `state_block` is exact."""
    takes_sparse: ClassVar[bool] = False
    """True for a type whose inputs may be `SparseRows` in mini-batches and predictions."""
    is_joined: ClassVar[bool] = False
    """True for a type that ``residual=True`` makes residual between other sizes, too."""
    d_in: int
    d_out: int

    @property
    @abstractmethod
    def weight_shape(self) -> tuple[int, int]:
        """Shape of W, its last column being the bias; (0, 0) for a layer without weights."""

    @property
    def has_weights(self) -> bool:
        """True unless `weight_shape` is empty."""
        return self.weight_shape[0] > 0

    @property
    def weight_groups(self) -> int:
        """The number of equal groups of rows of W that see different inputs."""
        return 1

    @property
    def skip(self) -> Skip:
        """S of ``V_l = S V_{l-1} + act(U_l)``, if the layer is residual."""
        return Skip(self.d_in, self.d_out)

    @property
    def fan_in(self) -> int:
        """The number of inputs of one output, by which initial weights are scaled."""
        return self.d_in

    @property
    def thread_bytes(self) -> int:
        """A bound on the bytes of a thread's work arrays that a dense layer of this W has not."""
        return 0

    def check(self, device: Device, below: Layer | None) -> None:
        """`InputError` if the layer cannot run on `device`, or does not fit the layer `below`.

        Numbers and images of both fit already; `below` is None for the first layer.
        """
        if self.needs_processor and device.name == "cuda":
            raise InputError(
                f"layers: {self} runs on the processor only; give device='cpu', or a layer of "
                "another type"
            )

    def initial_weights(
        self, rng: np.random.Generator, deviation: float, bias: float, dtype: np.dtype
    ) -> NDArray[np.floating]:
        """Return W: entries from N(0, deviation^2), drawn in float64, and all biases `bias`."""
        W = np.full(self.weight_shape, bias, dtype)
        for row in W:  # the same numbers as all at once, which would be copies in float64
            row[:-1] = deviation * rng.standard_normal(len(row) - 1)
        return W

    @abstractmethod
    def linear_part(self, V: NDArray[Any], W: NDArray[Any]) -> NDArray[Any]:
        """Return ``A(V; W) - A(0; W)`` in the dtype of V (m, d_in), by plain NumPy."""

    @abstractmethod
    def resized(self, d_in: int, d_out: int) -> Layer:
        """Return a layer of this type with other sizes; `fastbcd.warmup` compiles narrow ones."""

    @property
    @abstractmethod
    def multiplications(self) -> int:
        """The number of multiplications in ``A(v; W)`` for one sample."""

    # -- full batches -------------------------------------------------------------------------

    @abstractmethod
    def on(self, device: Device, W: Array) -> Operator:
        """Return the operator with the weights W, an array of `device`.

        It is a `LinearOperator` if the layer `is_linear`.
        """

    @abstractmethod
    def state_block(
        self,
        device: Device,
        W: Array,
        penalty: Penalty,
        kappa: Any,
        rho: Any,
        measured: bool = False,
    ) -> StateBlock:
        """Return the block of the states below this layer, with its factors; kappa, rho > 0.

        kappa is a number, or an array (d_in,) with one for each column of V. If the block is
        `measured`, `StateBlock.solve` will be asked for decreases.
        """

    def squared_subgradient(
        self,
        device: Device,
        tile: Tile,
        operator: Any,
        penalty: Penalty,
        V: Array,
        G: Array,
        R: Array,
        *sample_weight: Array,
    ) -> Any:
        """Return ``sum_i c_i |g_i|^2`` of the subgradient g nearest to 0 in the states V below.

        ``g = G + ds(V) - A*(R; W)``: G (m, d_in), which may be overwritten, is the gradient of the
        other smooth terms, s is `penalty`, and R (m, d_out) is minus the slope of F in A(V; W). A
        type that is not linear has its own method.
        """
        slope = tile.work.of(SlopeWork).slope.array(G.shape, G.dtype)
        operator.adjoint(slope, R)
        G -= slope
        return device.kernels.penalty_subgradient(penalty, V, G, *sample_weight)

    @abstractmethod
    def weight_block(self, device: Device, same_inputs: bool) -> WeightBlock:
        """Return the block of this layer's weights.

        `same_inputs` says that V is the same in every iteration: sums of V alone then have memory
        of their own and are computed once.
        """

    @abstractmethod
    def cross_sum(self, device: Device) -> CrossSum:
        """Return an empty sum for the gradient in W."""

    def by_rows(self, sums: Array) -> Array:
        """Return (n, rows of W): sums over the columns of U that a row of W makes.

        sums (n, d_out) has a number for each column.
        """
        return sums

    # -- mini-batches -------------------------------------------------------------------------
    # The argument V of these methods is V^ (m, d_in + 1), the ones included.

    @abstractmethod
    def batch_apply(self, kernels: Any, U: Array, V: Array, W: Array) -> None:
        """``U = A(V; W)``; the array V holds ``V^``."""

    @abstractmethod
    def batch_adjoint(
        self, kernels: Any, D: Array, R: Array, V: Array, W: Array, scale: Any, keep: float
    ) -> None:
        """``D = scale A*(R; W) + keep D``: R (m, d_out), D (m, d_in).

        A type that is not linear takes the adjoint of a derivative at V.
        """

    @abstractmethod
    def batch_gradient(
        self, kernels: Any, N: Array, D: Array, V: Array, scale: Any, keep: float
    ) -> None:
        """``N = scale grad_W <D, A(V; W)> + keep N``, for some rows of W.

        D is (m, d_out), or the `columns` of it that these rows make.
        """

    def columns(self, D: Array, rows: slice) -> Array:
        """Return the columns of D (m, d_out) that some rows of W make, for `batch_gradient`."""
        return D[:, rows]

    # Z has the inputs of W as rows, so that Z^T Z is the Gram matrix of the W-block. It is V^ for a
    # dense layer; other layers may have several rows for each sample.

    def batch_project(self, kernels: Any, out: Array, V: Array, Q: Array) -> None:
        """``out = Z Q`` for some samples, if `batch_sketch` needs it; out (m, rank)."""
        kernels.product(out, V, Q, 1.0, 0.0)

    def batch_sketch(
        self,
        kernels: Any,
        out: Array,
        V: Array,
        Q: Array,
        projected: Array,
        scale: float,
        keep: float,
    ) -> Any:
        """``out = scale Z^T Z Q + keep out``; returns ``|Z|^2``.

        Q (columns of W, rank), `out` of its shape; `projected` is from `batch_project`.
        """
        kernels.transposed_product(out, V, projected, scale, keep)
        return kernels.squared_norm(V)

    @abstractmethod
    def gain(self, kernels: Any, W: Array) -> float:
        """Return the expected ``rms(A*(D; W)) / rms(D)`` for a random D (m, d_out)."""
