"""Sums and solves on the processor: tiles and rows of a solve are shared among threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd import kernels
from fastbcd.devices.ranks import Ranks
from fastbcd.devices.solves import MAX_SWEEPS, RidgeSystem
from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Pool, Workspace
from fastbcd.kernels import Penalty
from fastbcd.kernels.gram_solve import EIGEN

Array = NDArray[Any]
ForEachBlock = Callable[[int, Callable[[slice], None]], None]
"""``for_each_block(n, body)``: ``body(rows)`` for blocks of n rows, shared among threads."""


class CrossWork(Workspace):
    """Work arrays for the cross product of one tile."""

    product: Buffer
    sums: Buffer
    weighted: Buffer


class GramWork(Workspace):
    """Work arrays for the Gram matrix of one tile."""

    product: Buffer
    sums: Buffer
    weighted: Buffer


class CPUSolves:
    """`fastbcd.devices.solves.Solves` on the processor.

    Products of a tile are computed in the storage type and added up in float64, in the order of the
    tiles. Each rank solves for its rows of W by all its threads; then the ranks exchange the rows.
    """

    symmetric_products = True

    def __init__(self, ranks: Ranks, pool: Pool, for_each_block: ForEachBlock) -> None:
        self._ranks, self._pool, self._for_each_block = ranks, pool, for_each_block

    def rows_at_once(self, rows: int) -> tuple[int, ...]:
        """Return (): a thread takes one row after the other."""
        return ()

    # -- sums over samples --------------------------------------------------------------------

    def tile_cross(
        self, tile: Tile, total: Array, R: Array, V: Array, number: int, *sample_weight: Array
    ) -> tuple[Array, Array]:
        """Return ``R^T V`` and the column sums of R for one tile."""
        work = tile.work.of(CrossWork, number)
        product = work.product.array((R.shape[1], V.shape[1]), V.dtype)
        sums = work.sums.array((R.shape[1],), np.float64)
        if sample_weight:
            _weighted_product(work, product, sums, R, V, *sample_weight)
        else:
            kernels.tile_cross(product, sums, R, V)
        return product, sums

    def add_tile_cross(self, total: Array, product: tuple[Array, Array]) -> None:
        """Add a result of `tile_cross` in float64."""
        kernels.add_cross(total, *product)

    def tile_gram(
        self, tile: Tile, total: Array, V: Array, *sample_weight: Array
    ) -> tuple[Array, Array]:
        """Return ``V^T V`` and the column sums of V for one tile."""
        work, d = tile.work.of(GramWork), V.shape[1]
        product = work.product.array((d, d), V.dtype)
        sums = work.sums.array((d,), np.float64)
        if sample_weight:
            _weighted_product(work, product, sums, V, V, *sample_weight)
        else:
            kernels.tile_gram(product, sums, V)
        return product, sums

    def add_tile_gram(
        self, total: Array, V: Array, product: tuple[Array, Array], *sample_weight: Array
    ) -> None:
        """Add a result of `tile_gram` in float64."""
        kernels.add_gram(total, V, *product, *sample_weight)

    def sum_equations(self, cross: Array, gram: Array | None) -> None:
        """Add up over ranks by one message, with the lower triangle of the Gram matrix."""
        ranks = self._ranks
        if gram is None or ranks.size == 1:
            ranks.sum(cross)
            return
        corner = len(gram) * (len(gram) + 1) // 2
        packed = self._pool.borrow((corner + cross.size,))
        kernels.pack_lower(packed, gram)
        packed[corner:] = cross.ravel()
        ranks.sum(packed)
        kernels.unpack_lower(gram, packed)
        cross[:] = packed[corner:].reshape(cross.shape)
        self._pool.give_back(packed)

    def check_equations(self, W: Array, cross: Array, gram: Array) -> None:
        """Raise `FloatingPointError` if the sums are not finite."""
        if not (np.isfinite(cross).all() and np.isfinite(np.diag(gram)).all()):
            raise FloatingPointError(
                f"layer of {len(W)} units: its states or weights are not finite any more in "
                f"{W.dtype}; scale the inputs or use float64"
            )

    # -- W-blocks -----------------------------------------------------------------------------

    def ridge(
        self,
        system: RidgeSystem,
        W: Array,
        cross: Array,
        weight: float,
        ridge: float,
        alpha: float,
        decrease: Array | None,
    ) -> None:
        """Solve one linear system for the step, by rows; see `fastbcd.kernels.gram_solve`."""
        pool, own = self._pool, self._ranks.rows(len(W))
        self._factor(system, W.dtype, weight, ridge, alpha)
        # The decrease needs step and right-hand side; without it the step replaces the latter.
        steps = cross if decrease is None else pool.borrow(cross.shape)
        # Only a solve by eigenvectors needs work space; a Cholesky factor needs none.
        work = pool.borrow(steps[own].shape) if system.method == EIGEN else steps[own]
        W_own, cross_own, step = W[own], cross[own], steps[own]

        def solve(block: slice, part: Array | None) -> None:
            kernels.ridge_right_hand_side(
                step[block], cross_own[block], W_own[block], weight, ridge
            )
            kernels.ridge_solve(
                step[block], system.factor, system.scale, system.method, work[block]
            )
            if part is not None:
                kernels.ridge_step_decrease(
                    part, step[block], cross_own[block], W_own[block], weight, ridge, alpha
                )
            kernels.add_step(W_own[block], step[block])

        self._for_own_rows(W, len(W_own), decrease, solve)
        if system.method == EIGEN:
            pool.give_back(work)
        if decrease is not None:
            pool.give_back(steps)

    def _factor(
        self, system: RidgeSystem, dtype: Any, weight: float, ridge: float, alpha: float
    ) -> None:
        parameters = (weight, ridge, alpha)
        if system.factored_for == parameters:
            return
        shift = np.full(len(system.gram), ridge + alpha)
        shift[-1] = alpha
        # The Gram matrix has the rounding of the type in which products were computed.
        tolerance = 2.0 * float(np.finfo(dtype).eps)
        system.method = kernels.ridge_factor(
            system.factor, system.scale, system.gram, weight, shift, tolerance
        )
        if system.method < 0:
            raise FloatingPointError("states are not finite any more; see the objective's history")
        system.factored_for = parameters

    def descent(
        self,
        system: RidgeSystem,
        W: Array,
        cross: Array,
        weight: float,
        penalty: Penalty,
        alpha: float,
        decrease: Array | None,
    ) -> None:
        """Do coordinate descent by rows; see `fastbcd.kernels.coordinate_descent`."""
        hessian, own = system.factor, self._ranks.rows(len(W))
        kernels.coordinate_hessian(hessian, system.gram, weight, alpha)
        system.factored_for = None
        tolerance, d = 2.0 * float(np.finfo(W.dtype).eps), len(hessian)
        W_own, cross_own = W[own], cross[own]

        def solve(block: slice, part: Array | None) -> None:
            kernels.coordinate_descent(
                W_own[block],
                penalty,
                hessian,
                cross_own[block],
                weight,
                1,
                tolerance,
                MAX_SWEEPS,
                np.empty(d),
                np.empty(d),
                part,
            )
            if part is not None:
                # The descent counts the proximal term; F does not have it.
                part[0] += 0.5 * alpha * part[1]

        self._for_own_rows(W, len(W_own), decrease, solve)

    def _for_own_rows(
        self,
        W: Array,
        n: int,
        decrease: Array | None,
        solve: Callable[[slice, Array | None], None],
    ) -> None:
        """Call ``solve(rows, decrease)`` for blocks of this rank's n rows of W; exchange rows."""
        # Each block of rows has its decrease; they are added up in the order of the blocks.
        parts: dict[int, Array] = {}

        def of_block(block: slice) -> None:
            solve(block, None if decrease is None else parts.setdefault(block.start, np.zeros(2)))

        self._for_each_block(n, of_block)
        self._ranks.share_rows(W)
        if decrease is not None:
            total = sum((parts[start] for start in sorted(parts)), np.zeros(2))
            self._ranks.sum(total)
            decrease += total

    # -- V-blocks -----------------------------------------------------------------------------

    def state_operator(self, M: Array, W: Array, k: float) -> None:
        """``M = W (k I + W^T W)^-1``: factor the smaller side, then solve for M by blocks."""
        d_out, d_in = W.shape
        wide, side, info = d_out < d_in, min(d_out, d_in), np.zeros(1, np.int32)
        factor = self._pool.borrow((side, side))
        kernels.state_factor(factor, W, k, info)
        if info[0] != 0:
            raise FloatingPointError(
                "the V-block cannot be factored: the weights are not finite any more"
            )

        def solve(block: slice) -> None:
            part = (slice(None), block) if wide else (block, slice(None))
            kernels.state_operator(M[part], W[part], factor, wide, np.zeros(1, np.int32))

        self._for_each_block(d_in if wide else d_out, solve)
        self._pool.give_back(factor)

    def state_hessian(self, H: Array, W: Array, kappa: float, rho: float) -> None:
        """``H = kappa I + rho W^T W``."""
        kernels.state_hessian(H, W, kappa, rho)


def _weighted_product(
    work: CrossWork | GramWork, out: Array, sums: Array, A: Array, B: Array, sample_weight: Array
) -> None:
    """``out = sum_i c_i a_i^T b_i`` and ``sums = sum_i c_i a_i`` of one tile.

    One factor is multiplied by c, instead of both by its root. So integer weights and powers of two
    add no rounding to sums that are exact without them.
    """
    weighted = work.weighted.array(A.shape, A.dtype)
    kernels.weigh_rows(weighted, sums, A, sample_weight)
    kernels.transposed_product(out, weighted, B, 1.0, 0.0)
