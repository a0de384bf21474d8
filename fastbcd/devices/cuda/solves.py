"""Sums and solves on a GPU by cuBLAS, cuSOLVER and own kernels, without a wait for the GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.solves import MAX_SWEEPS, RidgeSystem
from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.kernels import Penalty
from fastbcd.kernels import cuda as kernels
from fastbcd.kernels.cuda.target import ROW_BLOCKS

# Relative rounding of the factors of float32 products.
ROUNDING = {"float32": 2.0**-23, "tf32": 2.0**-11, "bf16": 2.0**-8}
# The product of so many samples is computed in the storage type; products are added in float64.
SUM_ROWS = 4096
# Approximate bytes of the products of one call of cuBLAS.
PRODUCT_BYTES = 2**28


class ProductWork(Workspace):
    """Work arrays for products of the parts of a tile."""

    cross: Buffer
    gram: Buffer
    sums: Buffer


class DescentWork(Workspace):
    """Work array with a gradient and a row for each block of threads."""

    rows: Buffer


class CUDASolves:
    """`fastbcd.devices.solves.Solves` on a GPU.

    The ridge solve is that of `fastbcd.kernels.cuda.gram_solve`, without a decision on the host. If
    states are not finite, kernels raise the device's flag, which its session reads at the end.
    Every rank solves for all rows of W; then all take the W of the first rank.
    """

    symmetric_products = False

    def __init__(self, device: Device, library: Any, failures: Any, precision: str) -> None:
        self._device, self._library, self._failures = device, library, failures
        self._precision = precision

    def rows_at_once(self, rows: int) -> tuple[int, ...]:
        """Return the number of blocks of threads, which take one row each."""
        return (min(rows, ROW_BLOCKS),)

    # -- sums over samples --------------------------------------------------------------------

    def tile_cross(self, tile: Tile, total: Any, R: Any, V: Any, number: int) -> None:
        """Add ``R^T V^`` of one tile to `total` at once, because tiles follow one another."""
        work, (d_out, d_in) = tile.work.of(ProductWork), (R.shape[1], V.shape[1])
        sums = self._column_sums(work, R)
        for rows, count in parts_of(len(V), d_out * d_in * V.dtype.itemsize):
            product = work.cross.array((count, d_out, d_in), V.dtype)
            self._library.partial_products(product, R[rows], V[rows])
            # The first part adds the column sums of all rows of the tile.
            kernels.add_cross(total, product, sums if rows.start == 0 else None)

    def add_tile_cross(self, total: Any, product: None) -> None:
        """Do nothing: `tile_cross` has added the product."""

    def tile_gram(self, tile: Tile, total: Any, V: Any) -> None:
        """Add ``V^^T V^`` of one tile to `total`."""
        work, d = tile.work.of(ProductWork), V.shape[1]
        sums = self._column_sums(work, V)
        for rows, count in parts_of(len(V), d * d * V.dtype.itemsize):
            product = work.gram.array((count, d, d), V.dtype)
            self._library.partial_grams(product, V[rows])
            # The first part adds the count and the column sums of all rows of the tile.
            kernels.add_gram(total, V, product, sums if rows.start == 0 else None)

    def add_tile_gram(self, total: Any, V: Any, product: None) -> None:
        """Do nothing: `tile_gram` has added the product."""

    def _column_sums(self, work: ProductWork, A: Any) -> Any:
        sums = work.sums.array((A.shape[1],), np.float64)
        sums[...] = 0.0
        kernels.add_column_sums(sums, A)
        return sums

    def sum_equations(self, cross: Any, gram: Any) -> None:
        """Add up both over the ranks, by a message each."""
        if gram is not None:
            self._device.sum_over_ranks(gram)
        self._device.sum_over_ranks(cross)

    def check_equations(self, W: Any, cross: Any, gram: Any) -> None:
        """Do nothing: the kernels of the solve raise the device's flag."""

    def _noise_of_products(self, dtype: Any) -> float:
        """Return the relative rounding of sums of products, as `kernels.ridge_factor` takes it."""
        if np.dtype(dtype) == np.float32:
            return 2.0 * ROUNDING[self._precision]
        return 2.0 * float(np.finfo(dtype).eps)

    # -- W-blocks -----------------------------------------------------------------------------

    def ridge(
        self,
        system: RidgeSystem,
        W: Any,
        cross: Any,
        weight: Any,
        ridge: float,
        alpha: float,
        decrease: Any,
    ) -> None:
        """Solve one linear system for the step; `weight` may be an array (1,)."""
        device, scale = self._device, system.scale[0]
        # The system has the rounding of its products and of this solve.
        noise = max(
            self._noise_of_products(W.dtype), len(system.gram) * float(np.finfo(np.float64).eps)
        )
        parameters = (weight, ridge, alpha) if isinstance(weight, float) else None
        if parameters is None or system.factored_for != parameters:
            kernels.scaled_system(
                system.factor, scale, system.gram, weight, ridge, alpha, noise, self._failures
            )
            self._library.cholesky(system.factor)
            system.factored_for = parameters
        step = device.pool.borrow(cross.shape)
        kernels.right_hand_side(step, cross, W, weight, ridge, scale, self._failures)
        self._library.cholesky_solve(step, system.factor)
        kernels.add_scaled_step(W, step, cross, weight, ridge, alpha, noise, scale, decrease)
        device.pool.give_back(step)
        device.same_on_all_ranks(W)

    def descent(
        self,
        system: RidgeSystem,
        W: Any,
        cross: Any,
        weight: Any,
        penalty: Penalty,
        alpha: float,
        decrease: Any,
    ) -> None:
        """Do coordinate descent by rows; see `fastbcd.kernels.coordinate_descent`."""
        device, hessian = self._device, system.factor
        kernels.coordinate_hessian(hessian, system.gram, weight, alpha)
        system.factored_for = None
        shape = (2, *self.rows_at_once(len(W)), W.shape[1])
        gradients, rows = device.work.of(DescentWork).rows.array(shape, np.float64)
        tolerance = 2.0 * float(np.finfo(W.dtype).eps)
        # The descent counts the proximal term; the last argument takes it out of the decrease.
        kernels.coordinate_descent(
            W,
            penalty,
            hessian,
            cross,
            weight,
            1,
            tolerance,
            MAX_SWEEPS,
            gradients,
            rows,
            decrease,
            alpha,
        )
        device.same_on_all_ranks(W)

    # -- V-blocks -----------------------------------------------------------------------------

    def state_operator(self, M: Any, W: Any, k: Any) -> None:
        """``M = W (k I + W^T W)^-1`` by a factor of the smaller side; k may be an array (1,)."""
        library, pool = self._library, self._device.pool
        wide, side = W.shape[0] < W.shape[1], min(W.shape)
        factor = pool.borrow((side, side))
        library.gram(factor, W, of_rows=wide)
        kernels.shift_diagonal(factor, k)
        library.cholesky(factor)
        if wide:
            library.cholesky_solve_columns(W, factor)
        else:
            library.cholesky_solve(W, factor)
        M[...] = W
        pool.give_back(factor)

    def state_hessian(self, H: Any, W: Any, kappa: float, rho: Any) -> None:
        """``H = kappa I + rho W^T W``; rho may be an array (1,)."""
        gram = self._device.pool.borrow(H.shape)
        self._library.gram(gram, W)
        kernels.coordinate_hessian(H, gram, rho, kappa)
        self._device.pool.give_back(gram)


def parts_of(n: int, product_bytes: int) -> Iterator[tuple[slice, int]]:
    """Yield the rows for each call, and the number of parts of `SUM_ROWS` samples in them."""
    whole, at_once = n // SUM_ROWS, max(1, PRODUCT_BYTES // max(product_bytes, 1))
    for first in range(0, whole, at_once):
        count = min(at_once, whole - first)
        yield slice(first * SUM_ROWS, (first + count) * SUM_ROWS), count
    if n % SUM_ROWS:
        yield slice(whole * SUM_ROWS, n), 1
