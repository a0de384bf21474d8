"""Normal equations of the W-block on the GPU: sums of products over samples, then one solve."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastbcd.devices.normal_equations import MAX_SWEEPS
from fastbcd.kernels import Penalty
from fastbcd.kernels import cuda as kernels
from fastbcd.kernels.cuda.target import ROW_BLOCKS

# Samples whose product is made in the storage type; the products are added up in float64.
SUM_ROWS = 4096
# Bytes of the products that are made by one call of cuBLAS, about.
PRODUCT_BYTES = 2**28


def parts_of(n: int, product_bytes: int) -> Iterator[tuple[slice, int]]:
    """Rows of n samples for one call, and how many parts of `SUM_ROWS` samples they are."""
    whole, at_once = n // SUM_ROWS, max(1, PRODUCT_BYTES // max(product_bytes, 1))
    for first in range(0, whole, at_once):
        count = min(at_once, whole - first)
        yield slice(first * SUM_ROWS, (first + count) * SUM_ROWS), count
    if n % SUM_ROWS:
        yield slice(whole * SUM_ROWS, n), 1


class CrossProduct:
    """``R^T V^`` over samples, in float64, with ``V^ = [V, 1]``; filled tile by tile."""

    def __init__(self, device: Any, shape: tuple[int, int]) -> None:
        self._device, self._library = device, device.library
        self._shape = shape
        self.cross = device.zeros(shape, np.float64)

    def multiply(self, tile: Any, R: Any, V: Any, name: str = "cross") -> Any:
        """Add the product of one tile; `add_product` has nothing left to do."""
        d_out, d_in = R.shape[1], V.shape[1]
        sums = tile.scratch.array("tile sums", (d_out,), np.float64)
        sums[...] = 0.0
        kernels.add_column_sums(sums, R)
        for rows, count in parts_of(len(V), d_out * d_in * V.dtype.itemsize):
            work = tile.scratch.array("tile cross", (count, d_out, d_in), V.dtype)
            self._library.partial_products(work, R[rows], V[rows])
            kernels.add_cross(self.cross, work, sums if rows.start == 0 else None)
        return None

    def add_product(self, product: Any) -> None:
        """Nothing: tiles follow one another on the GPU, and `multiply` has added."""

    def total(self) -> Any:
        """The product over all samples, those of other ranks included; once, after the pass."""
        self._device.sum_over_ranks(self.cross)
        return self.cross


class NormalEquations(CrossProduct):
    """Gram ``V^^T V^`` and cross product ``R^T V^``, ``R = U - V^ W'^T``, in float64.

    The ridge solve is `fastbcd.kernels.cuda.gram_solve`'s, without a decision on the host; where
    states are not finite, the device's flag is raised, which its session looks at when it ends.
    """

    def __init__(self, device: Any, shape: tuple[int, int], own_gram: bool) -> None:
        self._device, self._library, self._shape = device, device.library, shape
        self._square, self._own_gram = (shape[1], shape[1]), own_gram
        if own_gram:
            self.gram = device.empty(self._square, np.float64)
            self._factor_array = device.empty(self._square, np.float64)
        self._scale = device.empty((shape[1],), np.float64)
        self._gram_complete = False
        self._factored_for: tuple[float, ...] | None = None

    def start(self, keep_gram: bool) -> None:
        """Empty the sums; a Gram matrix that is complete stays, with its factor, on `keep_gram`."""
        scratch = self._device.scratch
        self.cross = scratch.array("cross", self._shape, np.float64)
        self.cross[...] = 0.0
        if not (keep_gram and self._gram_complete):
            if not self._own_gram:
                self.gram = scratch.array("gram", self._square, np.float64)
                self._factor_array = scratch.array("factor", self._square, np.float64)
            self.gram[...] = 0.0
            self._gram_complete = False
            self._factored_for = None

    def add(self, tile: Any, R: Any, V: Any) -> None:
        """Add one tile: R (m, d_out) residuals, V (m, d_in) states below."""
        self.multiply(tile, R, V)
        if self._gram_complete:
            return
        d_in = V.shape[1]
        sums = tile.scratch.array("tile sums", (d_in,), np.float64)
        sums[...] = 0.0
        kernels.add_column_sums(sums, V)
        for rows, count in parts_of(len(V), d_in * d_in * V.dtype.itemsize):
            work = tile.scratch.array("tile gram", (count, d_in, d_in), V.dtype)
            self._library.partial_grams(work, V[rows])
            # The count and the column sums of all rows of the tile come with its first part.
            kernels.add_gram(self.gram, V, work, sums if rows.start == 0 else None)

    def solve(
        self, W: Any, weight: Any, penalty: Penalty, alpha: float, report: Any = None
    ) -> None:
        """W-block: ``argmin_W weight/2 |U - V^ W^T|^2 + alpha/2 |W - W'|^2 + r(W)``, in place.

        Added to `report`: by how much F (without the proximal term) fell, and ``|W - W'|^2``.
        weight may be an array of one on the GPU.
        """
        device = self._device
        if not self._gram_complete:
            device.sum_over_ranks(self.gram)
            self._gram_complete = True
        device.sum_over_ranks(self.cross)
        if penalty.ridge is None:
            self._descend(W, weight, penalty, alpha, report)
        else:
            self._solve_ridge(W, weight, penalty.ridge, alpha, report)
        device.same_on_all_ranks(W)

    def _solve_ridge(self, W: Any, weight: Any, ridge: float, alpha: float, report: Any) -> None:
        # Products carry the rounding of their factors, and so does this solve.
        noise = max(
            self._device.noise_of_products(W.dtype),
            len(self.gram) * float(np.finfo(np.float64).eps),
        )
        failures = self._device.failures
        parameters = (weight, ridge, alpha) if isinstance(weight, float) else None
        if parameters is None or self._factored_for != parameters:
            kernels.scaled_system(
                *(self._factor_array, self._scale, self.gram, weight, ridge, alpha, noise),
                failures,
            )
            self._library.cholesky(self._factor_array)
            self._factored_for = parameters
        step = self._device.scratch.array("step", self._shape, np.float64)
        kernels.right_hand_side(step, self.cross, W, weight, ridge, self._scale, failures)
        self._library.cholesky_solve(step, self._factor_array)
        kernels.add_scaled_step(
            W, step, self.cross, weight, ridge, alpha, noise, self._scale, report
        )

    def _descend(self, W: Any, weight: Any, penalty: Penalty, alpha: float, report: Any) -> None:
        """Coordinate descent; see `fastbcd.kernels.coordinate_descent`."""
        kernels.coordinate_hessian(self._factor_array, self.gram, weight, alpha)
        self._factored_for = None
        shape = (min(len(W), ROW_BLOCKS), W.shape[1])
        scratch = self._device.scratch
        # The function that falls includes the proximal term; F does not.
        kernels.coordinate_descent(
            *(W, penalty, self._factor_array, self.cross, weight, 1),
            *(2.0 * float(np.finfo(W.dtype).eps), MAX_SWEEPS),
            scratch.array("descent gradients", shape, np.float64),
            scratch.array("descent rows", shape, np.float64),
            *(report, alpha),
        )
