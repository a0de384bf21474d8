"""Elementwise kernels: share of copy bandwidth, and comparison with NumPy."""

from __future__ import annotations

import numpy as np

from fastbcd import kernels

from .extent import some
from .measure import Copy, seconds
from .numpy_newton import NewtonProx

# From memory, not from cache: 96 MiB an array in float32.
ROWS, WIDTH = 16_384, 1536
ACTIVATIONS = ["relu", "leaky_relu", "linear", "sigmoid", "tanh", "softplus"]
GAMMA, RHO, ALPHA = 1.0, 1.0, 1e-3


def block(activation: str, dtype: str, rows: int = ROWS) -> tuple:
    """U, V, B of a U-block whose states are near their activations."""
    rng = np.random.default_rng(0)
    formula = kernels.ACTIVATIONS[activation]()
    U = (2 * rng.standard_normal((rows, WIDTH), np.float32)).astype(dtype)
    V = np.empty_like(U)
    kernels.activate(V, formula, U, None)
    V += (0.3 * rng.standard_normal(U.shape, np.float32)).astype(dtype)
    B = U + (0.3 * rng.standard_normal(U.shape, np.float32)).astype(dtype)
    return formula, U, V, B


class Preactivation:
    """The fused U-block reads U, V, B and writes U and ``U - B``: five arrays, one thread."""

    params = (some(ACTIVATIONS, "relu", "sigmoid"), some(["float32", "float64"], "float32"))
    param_names = ("activation", "dtype")
    timeout = 300

    def setup(self, activation, dtype):
        self.formula, self.U, self.V, self.B = block(activation, dtype)
        self.U0, self.B0 = self.U.copy(), self.B.copy()
        self.time_update(activation, dtype)

    def time_update(self, activation, dtype):
        kernels.update_preactivation(
            self.U, self.formula, self.V, None, self.B, GAMMA, RHO, ALPHA, None
        )

    def track_share_of_copy_bandwidth(self, activation, dtype):
        copy = Copy()
        shares = []
        for _ in range(9):
            own = seconds(lambda: self.time_update(activation, dtype), 1) / (5 * self.U.nbytes)
            shares.append(copy.seconds_per_byte() / own)
        return float(np.median(shares))

    track_share_of_copy_bandwidth.unit = "copy bandwidth"

    def track_worst_slope(self, activation, dtype):
        """The answer: at the minimiser of a smooth function the slope is 0."""
        if activation not in ("linear", "sigmoid", "tanh", "softplus"):
            return 0.0
        np.copyto(self.U, self.U0)
        np.copyto(self.B, self.B0)
        self.time_update(activation, dtype)
        U, B = self.U.astype(np.float64), self.B0.astype(np.float64)
        act, derivative = np.empty_like(U), np.empty_like(U)
        kernels.activate(act, self.formula, U, None)
        step = 1e-6
        kernels.activate(derivative, self.formula, U + step, None)
        derivative -= act
        derivative /= step
        slope = GAMMA * derivative * (act - self.V) + RHO * (U - B) + ALPHA * (U - self.U0)
        return float(np.abs(slope).max())


class AgainstNumPy:
    """The same Newton steps in NumPy, in cache, one thread."""

    params = (some(["sigmoid", "tanh"], "sigmoid"), ["float32", "float64"])
    param_names = ("activation", "dtype")

    def track_speedup(self, activation, dtype):
        return speedup_over_numpy(activation, dtype)

    track_speedup.unit = "times NumPy"


def speedup_over_numpy(activation: str, dtype: str, rows: int = 128) -> float:
    """Time of NumPy's Newton steps over that of the fused kernel, which does more."""
    formula, U, V, B = block(activation, dtype, rows)
    q = (RHO + ALPHA) / GAMMA
    c = (RHO * B + ALPHA * U) / (RHO + ALPHA)
    out, prox = np.empty(U.size, dtype), NewtonProx(activation, dtype)
    flat_a, flat_c = V.ravel(), c.astype(dtype).ravel()
    U0, B0 = U.copy(), B.copy()

    def compiled():
        np.copyto(U, U0)
        np.copyto(B, B0)
        kernels.update_preactivation(U, formula, V, None, B, GAMMA, RHO, ALPHA, None)

    def numpy():
        prox(out, flat_a, flat_c, q)

    compiled(), numpy()
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    # Where two minima compete only the kernel finds the lower one.
    if np.mean(np.abs(out - U.ravel()) > tolerance) > 0.01:
        raise AssertionError("NumPy's steps lead elsewhere")
    return seconds(numpy, 20) / seconds(compiled, 20)
