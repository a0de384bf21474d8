"""The interface of a device for the small linear systems of the W- and V-blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from fastbcd.devices.tiles import Tile
from fastbcd.kernels import Penalty

# Most sweeps of coordinate descent over a row; the next iteration continues an unfinished descent.
MAX_SWEEPS = 1000


@dataclass
class RidgeSystem:
    """The matrix ``weight gram + (ridge + alpha) I`` of a W-block, and its factor.

    Attributes
    ----------
    scale : (2, d) float64 array
        Memory for the scaling of the matrix to unit diagonal.
    gram, factor : (d, d) float64 array
        The lower triangle of the Gram matrix, and memory for the factor.
    method : int
        The kind of factor, a number from `fastbcd.kernels.ridge_factor`.
    factored_for : tuple or None
        The weight, ridge and alpha of the matrix in `factor`; None if it holds no factor.
    """

    scale: Any
    gram: Any = None
    factor: Any = None
    method: int = -1
    factored_for: tuple[float, ...] | None = None


class Solves(Protocol):
    """Sums of products over tiles of samples, and the solves with them."""

    symmetric_products: bool
    """Whether ``A^T A`` takes half the time of another product of that size."""

    def rows_at_once(self, rows: int) -> tuple[int, ...]:
        """Return the leading dimensions of work arrays for a descent over so many `rows`."""

    def tile_cross(
        self, tile: Tile, total: Any, R: Any, V: Any, number: int, *sample_weight: Any
    ) -> Any:
        """Return ``sum_i c_i r_i^T v^_i`` over a tile, for `add_tile_cross`.

        R (m, d_out), V (m, d_in); `number` tells several products of one tile apart. A device that
        runs tiles one after the other may add to `total` (d_out, d_in + 1) here.
        """

    def add_tile_cross(self, total: Any, product: Any) -> None:
        """Add the `product` that `tile_cross` returned to `total`."""

    def tile_gram(self, tile: Tile, total: Any, V: Any, *sample_weight: Any) -> Any:
        """Return ``sum_i c_i v^_i^T v^_i`` over a tile, lower triangle, for `add_tile_gram`."""

    def add_tile_gram(self, total: Any, V: Any, product: Any, *sample_weight: Any) -> None:
        """Add the `product` that `tile_gram` returned to `total` (d_in + 1, d_in + 1)."""

    def sum_equations(self, cross: Any, gram: Any) -> None:
        """Add up both over the ranks, in place; `gram` may be None."""

    def check_equations(self, W: Any, cross: Any, gram: Any) -> None:
        """Raise `FloatingPointError`, here or at the end of the session, if sums are not finite."""

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
        """Solve the W-block with a quadratic penalty; see `fastbcd.kernels.gram_solve`."""

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
        """Solve the W-block with any penalty; see `fastbcd.kernels.coordinate_descent`."""

    def state_operator(self, M: Any, W: Any, k: Any) -> None:
        """``M = W (k I + W^T W)^-1``; W (d_out, d_in) float64 may be overwritten."""

    def state_hessian(self, H: Any, W: Any, kappa: float, rho: Any) -> None:
        """``H = kappa I + rho W^T W`` (d_in, d_in), both triangles."""
