"""The CPU device: tiles of samples on threads of our own, serial compiled kernels on each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd import kernels
from fastbcd.devices.layer import Layer
from fastbcd.devices.normal_equations import NormalEquations
from fastbcd.devices.threads import resolve_threads, serial_blas
from fastbcd.devices.tiles import Scratch, Tile, for_each_tile
from fastbcd.kernels import Formula, Loss, Penalty
from fastbcd.specification import require_integer

Array = NDArray[Any]

# A tile of the widest layer has about this many bytes, so that the handful of
# arrays a pass touches stay in the last-level cache (see benchmarks/NOTES.md).
TILE_BYTES = 6 * 2**20
MIN_TILE_ROWS = 128
# Rows (or columns) of a d x d solve that one thread takes at a time.
SOLVE_ROWS = 256


class CPU:
    """Executes block updates on the processor.

    Parallelism lies over tiles of samples: each thread takes a tile through all
    its kernels and one-threaded BLAS calls while the tile is in cache. Tiles and
    the order of sums do not depend on the number of threads, so neither does any
    result, to the last bit.

    Parameters
    ----------
    n_threads : int, optional
        Default: as many as BLAS would use.
    tile_rows : int, optional
        Samples in a tile; default: as many as fit the cache. Changes results in
        the last digits.
    """

    name = "cpu"

    def __init__(self, n_threads: int | None = None, tile_rows: int | None = None) -> None:
        self.n_threads = resolve_threads(n_threads)
        self._tile_rows = (
            None if tile_rows is None else require_integer(tile_rows, "tile_rows", at_least=1)
        )
        self._start()

    def _start(self) -> None:
        self._scratches = [Scratch() for _ in range(self.n_threads)]
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {"n_threads": self.n_threads, "_tile_rows": self._tile_rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    @contextmanager
    def session(self) -> Iterator[None]:
        """Threads start on entry and end on exit; BLAS is one-threaded meanwhile."""
        with self._lock, serial_blas():
            if self._pool is not None or self.n_threads == 1:
                yield
                return
            with ThreadPoolExecutor(self.n_threads, thread_name_prefix="fastbcd") as self._pool:
                try:
                    yield
                finally:
                    self._pool = None

    # -- arrays -------------------------------------------------------------------------------

    def array(self, data: Any, dtype: Any) -> Array:
        """`data` as a contiguous array of this device; not copied where it is one already."""
        return np.ascontiguousarray(data, dtype)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An uninitialised array of this device."""
        return np.empty(shape, dtype)

    def numpy(self, array: Array) -> Array:
        """`array` as a NumPy array."""
        return array

    # -- passes over samples ------------------------------------------------------------------

    def for_each_tile(
        self, n: int, widths: tuple[int, ...], dtype: Any, body: Callable[[Tile], None]
    ) -> None:
        """Call ``body(tile)`` for tiles of n samples, shared among the threads."""
        rows = self._tile_rows
        if rows is None:
            row_bytes = max(widths) * np.dtype(dtype).itemsize
            rows = max(MIN_TILE_ROWS, TILE_BYTES // row_bytes)
        for_each_tile(n, rows, body, self._scratches, self._pool)

    def for_each_block(self, n: int, body: Callable[[slice], None]) -> None:
        """Call ``body(block)`` for blocks of n rows of a small matrix, shared among the threads."""
        for_each_tile(n, SOLVE_ROWS, lambda tile: body(tile.rows), self._scratches, self._pool)

    # -- layers and their solves --------------------------------------------------------------

    def layer(self, W: Array) -> Layer:
        """Weights and bias of a layer, ready for products."""
        return Layer(W)

    def layer_with_operator(self, W: Array, k: float) -> Layer:
        """The same with the operator M of the V-block below it."""
        layer = Layer(W)
        layer.prepare_operator(k, self.for_each_block)
        return layer

    def normal_equations(self, W: Array) -> NormalEquations:
        """Empty normal equations of the W-block."""
        return NormalEquations(len(W), W.shape[1], self.for_each_block)

    # -- block updates on one tile ------------------------------------------------------------

    def forward(self, tile: Tile, layer: Layer, V: Array, name: str = "B") -> Array:
        """``V^ W^T``, in the tile's work array `name`."""
        B = tile.scratch.array(name, (len(V), len(layer.bias)), V.dtype)
        kernels.affine(B, V, layer.W, layer.bias)
        return B

    def activate(self, out: Array, activation: Formula, U: Array, below: Array | None) -> None:
        """``out = S V_{l-1} + act(U)``."""
        kernels.activate(out, activation, U, below)

    def update_output_state(
        self,
        tile: Tile,
        V: Array,
        loss: Loss,
        linearised: bool,
        U: Array,
        below: Array | None,
        Y: Array,
        weight: float,
        gamma: float,
        alpha: float,
    ) -> None:
        """V_L-block; see `fastbcd.kernels.update_output_state` and its prox-linear sister."""
        update = (
            kernels.update_output_state_linearised if linearised else kernels.update_output_state
        )
        work = tile.scratch.array("row", (3, V.shape[1]), np.float64)
        update(V, loss, U, below, Y, weight, gamma, alpha, work)

    def state_center(
        self,
        V: Array,
        activation: Formula,
        U: Array,
        below: Array | None,
        activation_next: Formula,
        U_next: Array,
        V_next: Array | None,
    ) -> None:
        """First half of the V_l-block; see `fastbcd.kernels.state_center`."""
        kernels.state_center(V, activation, U, below, activation_next, U_next, V_next)

    def solve_state(self, tile: Tile, V: Array, U_next: Array, following: Layer) -> None:
        """Second half of the V_l-block; see `fastbcd.kernels.solve_state`."""
        residual = tile.scratch.array("B", U_next.shape, V.dtype)
        kernels.solve_state(V, U_next, following.W, following.bias, following.M, residual)

    def update_preactivation(
        self,
        U: Array,
        activation: Formula,
        V: Array,
        below: Array | None,
        B: Array,
        gamma: float,
        rho: float,
        alpha: float,
    ) -> float:
        """U_l-block; see `fastbcd.kernels.update_preactivation`."""
        return kernels.update_preactivation(U, activation, V, below, B, gamma, rho, alpha)

    # -- terms of the objective on one tile ---------------------------------------------------

    def loss_sum(self, loss: Loss, V: Array, Y: Array) -> float:
        """``sum_i loss(v_i; y_i)``."""
        return kernels.loss_sum(loss, V, Y)

    def activation_residual(
        self, activation: Formula, V: Array, U: Array, below: Array | None
    ) -> float:
        """``|V - S V_{l-1} - act(U)|^2``."""
        return kernels.activation_residual(activation, V, U, below)

    def linear_residual(self, U: Array, B: Array) -> float:
        """``|U - B|^2``."""
        return kernels.linear_residual(U, B)

    # -- penalties ----------------------------------------------------------------------------

    def penalty_sum(self, penalty: Penalty, W: Array) -> float:
        """``r(W)``; W with its bias column."""
        return kernels.penalty_sum(penalty, W[:, :-1])

    def project(self, W: Array, penalty: Penalty) -> None:
        """W to the nearest weights for which the penalty is finite, in place."""
        kernels.project(W[:, :-1], penalty)
