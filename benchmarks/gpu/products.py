"""Products of matrices by themselves: seconds and errors of each precision and of each shape.

This tells what the iteration could reach on this card, and which call of cuBLAS is the right one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from common import Results, Timer, copy_rate

N, D = 60_000, 1500


def teraflops(flops: float, seconds: float) -> float:
    """Rate in 1e12 operations a second."""
    return round(flops / seconds / 1e12, 1)


def main(out: str) -> int:
    """Measure and write."""
    import cupy

    from fastbcd.devices.cuda import CUDA

    results, timer = Results(Path(out)), Timer(cupy)
    results["copy, GB/s"] = round(copy_rate(cupy, timer) / 1e9)
    V, B = (cupy.random.standard_normal((N, D), np.float32) for _ in range(2))
    W = cupy.random.standard_normal((D, D), np.float32)
    small = cupy.empty((D, D), np.float32)
    exact = V[:2000].astype(np.float64) @ W.T.astype(np.float64)
    for precision in ("float32", "tf32", "bf16"):
        device = CUDA(precision=precision)
        library = device.library
        with device.session():  # launches of kernels, too, go to the device's stream
            rates: dict[str, Any] = {}
            kinds = {
                "A B^T": (2.0 * N * D * D, lambda g=library: g.gemm(B, V, W, transpose_B=True)),
                "A B": (2.0 * N * D * D, lambda g=library: g.gemm(B, V, W)),
            }
            for rows in (4096, 8192, 16384, N):
                A, R = V[:rows], B[:rows]
                kinds[f"A^T B, {rows} rows"] = (
                    2.0 * rows * D * D,
                    lambda g=library, A=A, R=R: g.gemm(small, R, A, transpose_A=True),
                )
                kinds[f"A^T A, {rows} rows"] = (
                    1.0 * rows * D * D,
                    lambda g=library, A=A: g.gram(small, A),
                )
            for name, (flops, call) in kinds.items():
                rates[name] = teraflops(flops, timer(call, repeat=5))
            library.gemm(B, V, W, transpose_B=True)
            off = float(cupy.abs(B[:2000] - exact).max() / cupy.abs(exact).max())
            rates["largest error"] = off
        results[f"{precision}, TFLOP/s"] = rates
    results["as PyTorch makes them"] = by_torch(timer)
    results["solves, ms"] = solves(cupy, timer)
    return 0


def by_torch(timer: Timer) -> dict[str, Any]:
    """TFLOP/s of the same products in PyTorch, and of batches of partial products."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    V, B = (torch.randn((N, D), device="cuda") for _ in range(2))
    W = torch.randn((D, D), device="cuda")
    # PyTorch works on a stream of its own: wait for the card instead of recording events.
    times: dict[str, Any] = {}

    def rate(name: str, flops: float, call: Any) -> None:
        seconds = []
        for _ in range(6):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            end.synchronize()
            seconds.append(start.elapsed_time(end) / 1e3)
        times[name] = teraflops(flops, sorted(seconds[1:])[2])

    rate("A B^T", 2.0 * N * D * D, lambda: V @ W.T)
    rate("A^T B", 2.0 * N * D * D, lambda: B.T @ V)
    for rows in (1000, 2000, 4000):
        A, R = V.view(N // rows, rows, D), B.view(N // rows, rows, D)
        rate(
            f"A^T B, batches of {rows} rows",
            2.0 * N * D * D,
            lambda A=A, R=R: torch.bmm(R.transpose(1, 2), A),
        )
    half_V, half_W = V.bfloat16(), W.bfloat16()
    rate("bf16 arrays", 2.0 * N * D * D, lambda: half_V @ half_W.T)
    rate("float32 to bf16, then the product", 2.0 * N * D * D, lambda: V.bfloat16() @ half_W.T)
    return times


def solves(cupy: Any, timer: Timer) -> dict[str, float]:
    """Milliseconds of what the W-block's float64 solve is made of."""
    from fastbcd.devices.cuda.library import Library
    from fastbcd.devices.ranks import SingleProcess

    library, found = Library("float32", SingleProcess()), {}
    with library.session():
        M = cupy.random.standard_normal((D + 1, D + 1))
        A = M @ M.T + 10 * cupy.eye(D + 1)
        L, right = A.copy(), cupy.random.standard_normal((D, D + 1))
        columns = cupy.random.standard_normal((D + 1, D))

        def factor() -> None:
            L[...] = A
            library.cholesky(L)

        found["factor"] = 1e3 * timer(factor)
        found["solve rows"] = 1e3 * timer(lambda: library.cholesky_solve(right, L))
        found["solve columns"] = 1e3 * timer(lambda: library.cholesky_solve_columns(columns, L))
        found["float64 gram"] = 1e3 * timer(lambda: library.gram(M, A))
        small = cupy.random.standard_normal((784, 16))
        found["qr of (784, 16)"] = 1e3 * timer(lambda: cupy.linalg.qr(small))
        square = cupy.eye(16) * cupy.arange(16.0)
        found["eigh of (16, 16)"] = 1e3 * timer(lambda: cupy.linalg.eigh(square))
    return {name: round(value, 3) for name, value in found.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
