"""A stand-in for the CuPy adapter, on NumPy arrays: the device whole, in the simulator.

Every method has the name, arguments and in-place behaviour of
`fastbcd.devices.cuda.library.Library`. Factors keep what cuSOLVER leaves untouched, and memory
comes filled with NaN, so that whoever reads what nobody wrote is found out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.linalg import cho_solve

from fastbcd.devices.cuda.device import CUDA


class HostLibrary:
    def __init__(self, free: int = 2**40) -> None:
        self.free = free

    @contextmanager
    def session(self) -> Iterator[int]:
        yield 0

    def synchronize(self) -> None:
        pass

    def group(self, ranks: Any) -> Any:
        return ranks

    def sum_over(self, group: Any, array: Any) -> None:
        group.sum(array)

    def max_over(self, group: Any, array: Any) -> None:
        group.max(array)

    def from_first(self, group: Any, array: Any) -> None:
        array[...] = group.gather(array.copy())[0]

    def empty(self, shape: Any, dtype: Any) -> Any:
        array = np.empty(shape, dtype)
        array.fill(np.nan if array.dtype.kind == "f" else 0)
        return array

    def zeros(self, shape: Any, dtype: Any) -> Any:
        return np.zeros(shape, dtype)

    def array(self, data: Any, dtype: Any) -> Any:
        return np.array(data, dtype, order="C")

    def received(self, data: Any) -> Any:
        return data

    def host(self, array: Any) -> Any:
        return np.array(array)

    where, maximum, isfinite = (staticmethod(f) for f in (np.where, np.maximum, np.isfinite))

    def gemm(
        self,
        out: Any,
        A: Any,
        B: Any,
        scale: Any = 1.0,
        keep: float = 0.0,
        transpose_A: bool = False,
        transpose_B: bool = False,
    ) -> None:
        assert A.dtype == B.dtype == out.dtype
        scale = out.dtype.type(np.asarray(scale).reshape(-1)[0])
        product = scale * ((A.T if transpose_A else A) @ (B.T if transpose_B else B))
        out[...] = product if keep == 0.0 else product + out.dtype.type(keep) * out

    def gram(self, out: Any, A: Any, of_rows: bool = False) -> None:
        lower = np.tril_indices(len(out))
        out[lower] = (A @ A.T if of_rows else A.T @ A)[lower]

    def cholesky(self, A: Any) -> None:
        lower = np.tril_indices(len(A))
        full = np.tril(A) + np.tril(A, -1).T
        A[lower] = np.linalg.cholesky(full)[lower] if np.isfinite(full).all() else np.nan

    def cholesky_solve(self, B: Any, L: Any) -> None:
        B[...] = cho_solve((np.tril(L), True), B.T, check_finite=False).T

    def cholesky_solve_columns(self, B: Any, L: Any) -> None:
        B[...] = cho_solve((np.tril(L), True), B, check_finite=False)

    def qr(self, A: Any) -> tuple[Any, Any]:
        return tuple(np.linalg.qr(A))

    def eigh(self, A: Any) -> tuple[Any, Any]:
        return tuple(np.linalg.eigh(A))

    def memory(self) -> tuple[int, int]:
        return self.free, self.free


class SimulatedCUDA(CUDA):
    """The CUDA device with kernels in the simulator and algebra in NumPy."""

    def _library(self) -> Any:
        return HostLibrary()


def on_simulator(solver: Any) -> Any:
    """`solver`, made for the CPU, with the CUDA device in the simulator."""
    solver.device = SimulatedCUDA(1, solver.device._tile_rows)
    return solver
