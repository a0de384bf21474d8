"""Products over samples, Gram matrices and solves: share of the machine's own GEMM rate.

One thread throughout, as in a tile. A symmetric product counts half the flops of a full one,
so its share says how well the symmetry is used.
"""

from __future__ import annotations

import numpy as np

from fastbcd import kernels

from .extent import some
from .measure import BLAS_LIMIT, gemm_rate, seconds

ROWS = 1024


def draw(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


class Products:
    """The products of a tile of 1024 samples, d x d."""

    params = (["affine", "solve_state", "tile_cross", "tile_gram"], some([128, 600, 1500], 600))
    param_names = ("kernel", "d")

    def setup(self, kernel, d):
        self.V, self.R, self.out = draw(ROWS, d), draw(ROWS, d), np.empty((ROWS, d), np.float32)
        self.W, self.M, self.square = draw(d, d), draw(d, d) / d, np.empty((d, d), np.float32)
        self.bias, self.sums, self.residual = draw(d), np.empty(d), np.empty_like(self.out)
        self.flops = ROWS * d * d * {"solve_state": 4, "tile_gram": 1}.get(kernel, 2)
        self.time_call(kernel, d)

    def time_call(self, kernel, d):
        with BLAS_LIMIT:
            if kernel == "affine":
                kernels.affine(self.out, self.V, self.W, self.bias)
            elif kernel == "solve_state":
                np.copyto(self.out, self.V)
                kernels.solve_state(self.out, self.R, self.W, self.bias, self.M, self.residual)
            elif kernel == "tile_cross":
                kernels.tile_cross(self.square, self.sums, self.R, self.V)
            else:
                kernels.tile_gram(self.square, self.sums, self.V)

    def track_share_of_gemm_rate(self, kernel, d):
        rate = self.flops / seconds(lambda: self.time_call(kernel, d), 5)
        with BLAS_LIMIT:
            return rate / gemm_rate(ROWS, d, d)

    track_share_of_gemm_rate.unit = "GEMM rate"


class Ridge:
    """Factor and solve of the W-block, d x d, float64."""

    params = (some([128, 600, 1500], 600),)
    param_names = ("d",)

    def setup(self, d):
        A = draw(2 * d, d, dtype="float64")
        self.gram, self.N = A.T @ A, draw(d, d, dtype="float64")
        self.factor, self.scale = np.empty((d, d)), np.empty((2, d))
        self.shift, self.work, self.step = np.ones(d), np.empty((d, d)), np.empty((d, d))
        self.time_factor(d)
        self.time_solve(d)

    def time_factor(self, d):
        with BLAS_LIMIT:
            self.method = kernels.ridge_factor(
                self.factor, self.scale, self.gram, 1.0, self.shift, 1e-15
            )

    def time_solve(self, d):
        np.copyto(self.step, self.N)
        with BLAS_LIMIT:
            kernels.ridge_solve(self.step, self.factor, self.scale, self.method, self.work)

    def track_share_of_gemm_rate(self, d):
        """``d^3 / 3`` flops to factor, ``2 d^3`` to solve for d right-hand sides."""
        total = seconds(lambda: self.time_factor(d)) + seconds(lambda: self.time_solve(d))
        with BLAS_LIMIT:
            return (1 / 3 + 2) * d**3 / total / gemm_rate(d, d, d, "float64")

    track_share_of_gemm_rate.unit = "GEMM rate"

    def track_relative_residual(self, d):
        """Relative residual of the solution."""
        self.time_factor(d)
        self.time_solve(d)
        H = self.gram + np.diag(self.shift)
        return float(np.abs(self.step @ H - self.N).max() / np.abs(self.N).max())


class CoordinateDescent:
    """The W-block with an l1 penalty: 256 rows of 600."""

    def setup(self):
        A = draw(1200, 600, dtype="float64")
        self.H = A.T @ A + np.eye(600)
        self.cross = draw(256, 1200, dtype="float64") @ A
        self.penalty = kernels.l1(30.0)
        self.time_rows()

    def time_rows(self):
        self.W, N = np.zeros((256, 600)), self.cross.copy()
        kernels.coordinate_descent(
            self.W, self.penalty, self.H, N, 1.0, 0, 1e-9, 1000, np.empty(600), np.empty(600), None
        )

    def track_zeros(self):
        self.time_rows()
        return float((self.W == 0).mean())
