"""Elementwise kernels and sums: bytes over time, as a share of this card's copy bandwidth."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import N, Results, Timer, copy_rate

from fastbcd import Problem, ThreeSplitting, kernels

CALLS = 20
ACTIVATIONS = ("relu", "leaky_relu", "linear", "sigmoid", "tanh", "softplus")


def of_kernels(device: Any, cupy: Any, timer: Timer, rate: float, rows: int) -> dict[str, float]:
    """Kernel -> its bytes over its time, as a share of the copy's rate; (rows, 1500)."""
    gpu, shares, d = device.kernels, {}, 1500

    def seconds(call: Callable[[], Any]) -> float:
        """Seconds of one call within a graph of many, without time of the processor."""
        call()  # compiles, and takes memory

        def calls() -> None:
            for _ in range(CALLS):
                call()

        return timer(device.library.captured(calls), 5) / CALLS

    A, B, C, D = (cupy.random.standard_normal((rows, d), np.float32) for _ in range(4))
    # Large enough not to stay in the card's cache.
    W = cupy.random.standard_normal((rows, 1501), np.float32)
    S, leading = W.copy(), W.copy()
    for name in ACTIVATIONS:
        act = kernels.ACTIVATIONS[name]()
        calls: dict[str, tuple[int, Callable[[], Any]]] = {
            "activate": (2, lambda act=act: gpu.activate(A, act, B, None)),
            "update_preactivation": (
                5,
                lambda act=act: gpu.update_preactivation(A, act, B, None, C, 1.0, 1.0, 0.1, None),
            ),
            "state_center": (
                2,
                lambda act=act: gpu.state_center(A, act, B, None, act, C, None, 1.0),
            ),
            "activation_residual": (2, lambda act=act: gpu.activation_residual(act, A, B, None)),
            "surrogate_residual": (3, lambda act=act: gpu.surrogate_residual(A, act, B, C, 1.0)),
            "displacement": (3, lambda act=act: gpu.displacement(D, None, B, act, 1.0, 16.0)),
        }
        for kernel, (arrays, call) in calls.items():
            A[...], C[...], D[...] = B * 1.1, B * 0.9, B * 1e-3
            shares[f"{kernel} {name}"] = arrays * A.nbytes / seconds(call) / rate
    others: dict[str, tuple[int, Callable[[], Any]]] = {
        "squared_norm": (A.nbytes, lambda: gpu.squared_norm(A)),
        "squared_distance": (2 * A.nbytes, lambda: gpu.squared_distance(A, B)),
        "residual_of_bias": (2 * A.nbytes, lambda: gpu.residual_of_bias(A, B, W[0, :d])),
        "proximal_center": (3 * A.nbytes, lambda: gpu.proximal_center(A, B, C, 1.0, 0.1)),
        "column sums": (A.nbytes, lambda: gpu.add_column_sums(cupy.zeros(d), A)),
        "step_weights": (4 * W.nbytes, lambda: gpu.step_weights_along(W, S, leading, 1e-9, 1.0)),
    }
    for kernel, (n_bytes, call) in others.items():
        shares[kernel] = n_bytes / seconds(call) / rate
    return shares


def main(out: str) -> int:
    """Measure and write."""
    import cupy

    results, timer = Results(Path(out)), Timer(cupy)
    device = ThreeSplitting(Problem((784, 8, 10)), device="cuda").device
    with device.session():
        rate = copy_rate(cupy, timer)
        results["copy, GB/s"] = round(rate / 1e9)
        shares = of_kernels(device, cupy, timer, rate, N)
    results["share of it"] = {name: round(share, 3) for name, share in shares.items()}
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
