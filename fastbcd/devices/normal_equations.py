"""Normal equations of the W-block: sums of products over samples, then one solve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd import kernels
from fastbcd.devices.layer import ForEachBlock
from fastbcd.devices.ranks import Ranks
from fastbcd.devices.tiles import Scratch, Tile
from fastbcd.kernels import Penalty
from fastbcd.kernels.gram_solve import EIGEN

# Sweeps of coordinate descent over a row; what is not finished goes on in the next iteration.
MAX_SWEEPS = 1000

ReportOf = Callable[[slice], NDArray[Any] | None]


class CrossProduct:
    """``sum_i c_i r_i^T v^_i`` over samples, in float64, ``v^ = [v, 1]``; filled tile by tile.

    In two parts, so that only the second waits for the tile's turn: R (m, d_out), V (m, d_in),
    and `sample_weight` (m,) float64, the c_i, or nothing for 1 each.
    """

    def __init__(self, d_out: int, d_columns: int, ranks: Ranks) -> None:
        self.cross, self._ranks = np.zeros((d_out, d_columns)), ranks

    def multiply(
        self,
        tile: Tile,
        R: NDArray[Any],
        V: NDArray[Any],
        name: str = "cross",
        *sample_weight: NDArray[Any],
    ) -> tuple[Any, Any]:
        """The product of one tile, in its work array `name`."""
        d_out, d_in = R.shape[1], V.shape[1]
        cross = tile.scratch.array(name, (d_out, d_in), V.dtype)
        sums = tile.scratch.array(f"{name} sums", (d_out,), np.float64)
        if sample_weight:
            _weighted_product(tile, cross, sums, R, V, *sample_weight)
        else:
            kernels.tile_cross(cross, sums, R, V)
        return cross, sums

    def add_product(self, product: tuple[Any, Any]) -> None:
        """Add what `multiply` returned, in the tile's turn."""
        kernels.add_cross(self.cross, *product)

    def total(self) -> NDArray[Any]:
        """The product over all samples, those of other ranks included; once, after the pass."""
        self._ranks.sum(self.cross)
        return self.cross


class NormalEquations(CrossProduct):
    """Gram ``sum_i c_i v^_i^T v^_i`` and cross product ``sum_i c_i r_i^T v^_i``, in float64.

    ``R = U - V^ W'^T``; c are the weights of samples, 1 each where none are given.

    Filled tile by tile. `solve` adds up what the ranks have: one message, with the lower triangle
    of the Gram matrix. Each rank then solves for some rows of W, and they exchange these, so that
    all have the same bits.

    Parameters
    ----------
    d_out, d_columns : int
        Shape of W.
    for_each_block : callable
        Shares rows of a solve among threads.
    scratch : Scratch
        Memory that all solves of a device share, one after the other.
    own_gram : bool
        The Gram matrix and its factor have memory of their own: where V does not change
        (the inputs) they serve every iteration; see `start`.
    ranks : Ranks
    """

    def __init__(
        self,
        d_out: int,
        d_columns: int,
        for_each_block: ForEachBlock,
        scratch: Scratch,
        own_gram: bool,
        ranks: Ranks,
    ) -> None:
        self._ranks = ranks
        self._for_each_block, self._scratch = for_each_block, scratch
        self._shape, self._square = (d_out, d_columns), (d_columns, d_columns)
        self._own_gram = own_gram
        if own_gram:
            self.gram, self._factor_array = np.empty((2, *self._square))
        self._scale = np.empty((2, d_columns))
        self._gram_complete = False
        self._factored_for: tuple[float, ...] | None = None

    def start(self, keep_gram: bool) -> None:
        """Empty the sums; a Gram matrix that is complete stays, with its factor, on `keep_gram`."""
        self.cross = self._scratch.array("cross", self._shape, np.float64)
        self.cross[:] = 0.0
        if not (keep_gram and self._gram_complete):
            if not self._own_gram:
                self.gram = self._scratch.array("gram", self._square, np.float64)
                self._factor_array = self._scratch.array("factor", self._square, np.float64)
            self.gram[:] = 0.0
            self._gram_complete = False
            self._factored_for = None

    def add(
        self, tile: Tile, R: NDArray[Any], V: NDArray[Any], *sample_weight: NDArray[Any]
    ) -> None:
        """Add one tile: R (m, d_out) residuals, V (m, d_in) states below, weights (m,) if any."""
        product = self.multiply(tile, R, V, "cross", *sample_weight)
        if not self._gram_complete:
            d_in = V.shape[1]
            gram = tile.scratch.array("gram", (d_in, d_in), V.dtype)
            sums_V = tile.scratch.array("sums_V", (d_in,), np.float64)
            if sample_weight:
                _weighted_product(tile, gram, sums_V, V, V, *sample_weight)
            else:
                kernels.tile_gram(gram, sums_V, V)
        tile.wait_for_turn()
        self.add_product(product)
        if not self._gram_complete:
            kernels.add_gram(self.gram, V, gram, sums_V, *sample_weight)

    def solve(
        self,
        W: NDArray[Any],
        weight: float,
        penalty: Penalty,
        alpha: float,
        report: NDArray[Any] | None = None,
    ) -> None:
        """W-block: ``argmin_W weight/2 |U - V^ W^T|^2 + alpha/2 |W - W'|^2 + r(W)``, in place.

        Added to `report`: by how much F (without the proximal term) fell, and ``|W - W'|^2``.
        """
        self._sum_over_ranks()
        if not (np.isfinite(self.cross).all() and np.isfinite(np.diag(self.gram)).all()):
            raise FloatingPointError(
                f"layer of {len(W)} units: its states or weights are not finite any more in "
                f"{W.dtype}; scale the inputs or use float64"
            )
        own = self._ranks.rows(len(W))
        # One for each block of rows, added up in their order.
        reports: dict[int, NDArray[Any]] = {}

        def report_of(block: slice) -> NDArray[Any] | None:
            return None if report is None else reports.setdefault(block.start, np.zeros(2))

        if penalty.ridge is None:
            self._descend(W[own], self.cross[own], weight, penalty, alpha, report_of)
        else:
            # A report compares the step with the right-hand side; else it takes its place.
            step = self.cross
            if report is not None:
                step = self._scratch.array("step", self._shape, np.float64)
            self._solve_ridge(
                *(W[own], self.cross[own], step[own], weight, penalty.ridge, alpha, report_of)
            )
        self._ranks.share_rows(W)
        if report is not None:
            total = sum((reports[start] for start in sorted(reports)), np.zeros(2))
            self._ranks.sum(total)
            report += total

    def _sum_over_ranks(self) -> None:
        """All samples' sums, in one message."""
        if self._gram_complete or self._ranks.size == 1:
            self._gram_complete = True
            self._ranks.sum(self.cross)
            return
        d = len(self.gram)
        corner = d * (d + 1) // 2
        packed = self._scratch.array("packed", (corner + self.cross.size,), np.float64)
        kernels.pack_lower(packed, self.gram)
        packed[corner:] = self.cross.ravel()
        self._ranks.sum(packed)
        kernels.unpack_lower(self.gram, packed)
        self.cross[:] = packed[corner:].reshape(self._shape)
        self._gram_complete = True

    def _solve_ridge(
        self,
        W: NDArray[Any],
        cross: NDArray[Any],
        step: NDArray[Any],
        weight: float,
        ridge: float,
        alpha: float,
        report_of: ReportOf,
    ) -> None:
        """One linear solve; see `fastbcd.kernels.gram_solve`."""
        self._factor(W, weight, ridge, alpha)
        # Only where eigenvectors take the place of a Cholesky factor is there work to do in it.
        work = step
        if self._method == EIGEN:
            work = self._scratch.array("work", step.shape, np.float64)

        def rows(block: slice) -> None:
            kernels.ridge_right_hand_side(step[block], cross[block], W[block], weight, ridge)
            kernels.ridge_solve(
                step[block], self._factor_array, self._scale, self._method, work[block]
            )
            report = report_of(block)
            if report is not None:
                kernels.ridge_step_decrease(
                    *(report, step[block], cross[block], W[block], weight, ridge, alpha)
                )
            kernels.add_step(W[block], step[block])

        self._for_each_block(len(W), rows)

    def _descend(
        self,
        W: NDArray[Any],
        cross: NDArray[Any],
        weight: float,
        penalty: Penalty,
        alpha: float,
        report_of: ReportOf,
    ) -> None:
        """Coordinate descent; see `fastbcd.kernels.coordinate_descent`."""
        H, d = self._factor_array, len(self.gram)
        kernels.coordinate_hessian(H, self.gram, weight, alpha)
        self._factored_for = None
        tolerance = 2.0 * float(np.finfo(W.dtype).eps)

        def rows(block: slice) -> None:
            report = report_of(block)
            kernels.coordinate_descent(
                *(W[block], penalty, H, cross[block], weight, 1, tolerance, MAX_SWEEPS),
                *(np.empty(d), np.empty(d), report),
            )
            if report is not None:
                # The function that fell includes the proximal term; F does not.
                report[0] += 0.5 * alpha * report[1]

        self._for_each_block(len(W), rows)

    def _factor(self, W: NDArray[Any], weight: float, ridge: float, alpha: float) -> None:
        parameters = (weight, ridge, alpha)
        if self._factored_for == parameters:
            return
        shift = np.full(len(self.gram), ridge + alpha)
        shift[-1] = alpha
        # Products carry the rounding of the type they were multiplied in.
        tolerance = 2.0 * float(np.finfo(W.dtype).eps)
        self._method = kernels.ridge_factor(
            self._factor_array, self._scale, self.gram, weight, shift, tolerance
        )
        if self._method < 0:
            raise FloatingPointError("states are not finite any more; see the objective's history")
        self._factored_for = parameters


def _weighted_product(
    tile: Tile,
    out: NDArray[Any],
    sums: NDArray[Any],
    A: NDArray[Any],
    B: NDArray[Any],
    sample_weight: NDArray[Any],
) -> None:
    """``out = sum_i c_i a_i^T b_i`` and ``sums = sum_i c_i a_i`` of one tile.

    A factor is multiplied with c itself, not both with its root: so whole weights, and powers
    of two, add nothing to the rounding of sums that are exact without them.
    """
    weighted = tile.scratch.array("weighted", A.shape, A.dtype)
    kernels.weigh_rows(weighted, sums, A, sample_weight)
    kernels.transposed_product(out, weighted, B, 1.0, 0.0)
