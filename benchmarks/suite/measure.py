"""What this machine can do, timed in the same run as the code that is held against it.

Wall time on a shared machine says little; a ratio of two times taken next to each other says
what is left to gain. Everything here returns seconds or rates of the moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

# Far larger than any last-level cache.
BANDWIDTH_BYTES = 256 * 2**20


def seconds(function: Callable[[], object], repeat: int = 3) -> float:
    """Shortest of `repeat` runs: interruptions only ever add to a time."""
    best = np.inf
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def paired_ratio(
    function: Callable[[], object], reference: Callable[[], object], repeat: int = 5
) -> float:
    """Median over `repeat` rounds of the two times' ratio, after one round that warms up."""
    function(), reference()
    ratios = [seconds(function, 1) / seconds(reference, 1) for _ in range(repeat)]
    return float(np.median(ratios))


def copy_seconds_per_byte(repeat: int = 5) -> float:
    """One thread's copy from memory to memory, counting bytes read and bytes written."""
    source = np.ones(BANDWIDTH_BYTES // 4, np.float32)
    target = np.empty_like(source)
    np.copyto(target, source)
    return seconds(lambda: np.copyto(target, source), repeat) / (2 * source.nbytes)


def gemm_rate(n: int, d_in: int, d_out: int, dtype: str = "float32", repeat: int = 3) -> float:
    """Flops a second of NumPy's product (n, d_in) (d_in, d_out) at its current thread count."""
    A, B = np.ones((n, d_in), dtype), np.ones((d_in, d_out), dtype)
    out = np.empty((n, d_out), dtype)
    np.matmul(A, B, out=out)
    return 2 * n * d_in * d_out / seconds(lambda: np.matmul(A, B, out=out), repeat)
