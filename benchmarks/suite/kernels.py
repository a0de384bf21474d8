"""Elementwise kernels and Gram solves: time, and the answer's error beside it."""

from __future__ import annotations

import numpy as np

from fastbcd import kernels
from fastbcd.devices.threads import serial_blas

ROWS, WIDTH = 1024, 1500


def draw(*shape, dtype="float32"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


class Preactivation:
    """Fused U-block on one tile: reads U, V, B, writes U, B."""

    params = (["relu", "leaky_relu", "linear"], ["float32", "float64"])
    param_names = ("activation", "dtype")

    def setup(self, activation, dtype):
        self.activation = kernels.ACTIVATIONS[activation]()
        self.U, self.V, self.B = (draw(ROWS, WIDTH, dtype=dtype) for _ in range(3))
        self.source, self.target = self.U.copy(), self.U.copy()
        self.time_update(activation, dtype)

    def time_update(self, activation, dtype):
        weights = (1.0, 1.0, 0.1)
        kernels.update_preactivation(self.U, self.activation, self.V, None, self.B, *weights, None)

    def time_copy_of_one_array(self, activation, dtype):
        np.copyto(self.target, self.source)


class Ridge:
    """Factor and solve of the W-block, d x d, one thread."""

    params = ([128, 600, 1500],)
    param_names = ("d",)

    def setup(self, d):
        A = draw(2 * d, d, dtype="float64")
        self.gram, self.N = A.T @ A, draw(d, d, dtype="float64")
        self.factor, self.scale = np.empty((d, d)), np.empty((2, d))
        self.shift, self.work = np.ones(d), np.empty((d, d))
        self.time_factor(d)
        self.time_solve(d)

    def time_factor(self, d):
        with serial_blas():
            self.method = kernels.ridge_factor(
                self.factor, self.scale, self.gram, 1.0, self.shift, 1e-15
            )

    def time_solve(self, d):
        self.step = self.N.copy()
        with serial_blas():
            kernels.ridge_solve(self.step, self.factor, self.scale, self.method, self.work)

    def track_relative_residual(self, d):
        H = self.gram + np.diag(self.shift)
        return float(np.abs(self.step @ H - self.N).max() / np.abs(self.N).max())
