"""The floor of an iteration: the BLAS and LAPACK calls that no implementation can leave out.

Algorithm 2, plain layers, n samples; p, d, e are the widths of layers l - 1, l, l + 1:

    U_l   V_{l-1} W_l^T                         n p d   product
    W_l   R^T V_{l-1}                           n p d   product
          V_{l-1}^T V_{l-1}  (once for X)       n p p   symmetric product
          factor (p + 1), solve d right-hand sides, float64
    V_l   c W_{l+1}^T, then r M                 2 n d e products
          W W^T or W^T W, factor, solve, float64

Elementwise work, additions and everything that joins the calls is what an iteration may
cost on top of their sum.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.linalg import blas, lapack

from fastbcd.devices import CPU
from fastbcd.devices.threads import resolve_threads

from .measure import BLAS_LIMIT, seconds

Call = tuple[str, int, int, int]
"""Name of a call and its three sizes."""


def irreducible_calls(widths: tuple[int, ...], n: int) -> Counter[Call]:
    """How often each call is needed in one iteration after the first."""
    calls: Counter[Call] = Counter()
    L = len(widths) - 1
    for l in range(L, 0, -1):
        p, d = widths[l - 1], widths[l]
        if l < L:
            e = widths[l + 1]
            calls["A B^T", n, d, e] += 1
            calls["A B", n, e, d] += 1
            calls["operator", min(d, e), max(d, e), 0] += 1
        calls["A B^T", n, p, d] += 1
        calls["A^T B", n, d, p] += 1
        if l > 1:
            calls["A^T A", n, p, 0] += 1
            calls["factor", p + 1, 0, 0] += 1
        calls["solve", p + 1, d, 0] += 1
    return calls


def mini_batch_calls(widths: tuple[int, ...], m: int) -> Counter[Call]:
    """How often each call is needed for a batch of m samples by `MiniBatchThreeSplitting`.

    Forward, cross product of displacements and states, and for hidden layers ``D W``; what its
    metric adds, of the order of rank / d, is not counted.
    """
    calls: Counter[Call] = Counter()
    for l, (p, d) in enumerate(itertools.pairwise(widths), start=1):
        calls["A B^T", m, p, d] += 1
        calls["A^T B", m, d, p] += 1
        if l > 1:
            calls["A B", m, d, p] += 1
    return calls


def product_flops(calls: Counter[Call]) -> int:
    """Flops of the products over samples; a symmetric product counts half."""
    per_call = {"A B^T": 2, "A B": 2, "A^T B": 2}
    total = 0
    for (name, n, p, d), count in calls.items():
        if name == "A^T A":
            total += count * n * p * p
        elif name in per_call:
            total += count * 2 * n * p * d
    return total


class Floor:
    """The calls of an iteration, each at the faster of two ways to run it.

    Products over samples: one call on whole arrays with BLAS's own threads, or one-threaded
    calls on tiles of samples shared among threads. Solves: BLAS's own threads. A call is timed
    `loops` times in a row, for calls that are short.
    """

    def __init__(self, calls: Counter[Call], dtype: str = "float32", loops: int = 1) -> None:
        self.calls, self.dtype, self.loops = calls, np.dtype(dtype), loops
        self._fastest = {}
        for call in self.calls:
            times = [self._time(run) for run in _ways(call, self.dtype)]
            self._fastest[call] = int(np.argmin(times))

    def seconds(self) -> float:
        """Sum over all calls of this moment's times."""
        return sum(
            count * self._time(_ways(call, self.dtype)[self._fastest[call]])
            for call, count in self.calls.items()
        )

    def _time(self, run: Callable[[], object]) -> float:
        return seconds(lambda: [run() for _ in range(self.loops)], 1) / self.loops


def _ways(call: Call, dtype: np.dtype) -> list[Callable[[], object]]:
    name, n, p, d = call
    if name in _SOLVES:
        return [_SOLVES[name](n, p)]
    shape_A, shape_B, shape_out = {
        "A B^T": ((n, p), (d, p), (n, d)),
        "A B": ((n, p), (p, d), (n, d)),
        "A^T B": ((n, p), (n, d), (p, d)),
        "A^T A": ((n, p), (n, p), (p, p)),
    }[name]
    A, B = np.ones(shape_A, dtype), np.ones(shape_B, dtype)
    out = np.ones(shape_out, dtype)
    if name == "A^T A":
        B = A

    def whole() -> None:
        np.matmul(A.T if name.startswith("A^T") else A, B.T if name == "A B^T" else B, out=out)

    n_threads = resolve_threads(None)
    device = CPU()
    rows = device.tile_rows((p, d), dtype)
    sums = [np.empty(shape_out, dtype) for _ in range(n_threads)]

    def on_tile(start: int, thread: int) -> None:
        part = slice(start, start + rows)
        if name.startswith("A^T"):  # NumPy's product of an array's transpose with itself is a syrk
            np.matmul(A[part].T, B[part], out=sums[thread])
        else:
            np.matmul(A[part], B.T if name == "A B^T" else B, out=out[part])

    def tiles() -> None:
        starts = iter(range(0, n, rows))

        def work(thread: int) -> None:
            for start in starts:
                on_tile(start, thread)

        with BLAS_LIMIT, ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(work, range(n_threads)))

    whole()
    return [whole, tiles]


def _spd(size: int) -> np.ndarray:
    A = np.random.default_rng(0).standard_normal((size, size))
    return np.asfortranarray(A @ A.T + size * np.eye(size))


def _factor(size: int, _: int) -> Callable[[], object]:
    A = _spd(size)
    return lambda: lapack.dpotrf(A, overwrite_a=False)


def _solve(size: int, n_right: int) -> Callable[[], object]:
    c, _ = lapack.dpotrf(_spd(size))
    N = np.asfortranarray(np.ones((size, n_right)))
    return lambda: lapack.dpotrs(c, N)


def _operator(small: int, large: int) -> Callable[[], object]:
    W = np.asfortranarray(np.random.default_rng(0).standard_normal((small, large)))

    def run() -> None:
        K = blas.dsyrk(1.0, W)
        K[np.diag_indices(small)] += 1.0
        c, _ = lapack.dpotrf(K)
        lapack.dpotrs(c, W)

    return run


_SOLVES = {"factor": _factor, "solve": _solve, "operator": _operator}
