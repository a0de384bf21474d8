"""Rates of this machine, timed in the same run as the code that is compared with them.

Wall time on a shared machine says little, but a ratio of two times that are measured next to each
other shows how much can be gained. Everything here returns current seconds or rates.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastbcd.devices import threads

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


# One thread for NumPy's products; older versions have it under the other name.
BLAS_LIMIT = getattr(threads, "BLAS_LIMIT", None) or threads.serial_blas()


def paired_ratio(
    function: Callable[[], object], reference: Callable[[], float], repeat: int = 3
) -> float:
    """Median over `repeat` rounds of the time of `function` over what `reference` returns."""
    return float(np.median([seconds(function, 1) / reference() for _ in range(repeat)]))


class Copy:
    """One thread's copy from memory to memory."""

    def __init__(self) -> None:
        self._source = np.ones(BANDWIDTH_BYTES // 4, np.float32)
        self._target = np.ones_like(self._source)

    def seconds_per_byte(self) -> float:
        """Current seconds per byte, counting bytes read and bytes written."""
        one = seconds(lambda: np.copyto(self._target, self._source), 1)
        return one / (2 * self._source.nbytes)


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    status = Path("/proc/self/status")
    if status.exists():  # `ru_maxrss` would not fall below what the parent process had
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def figures_of(module: str, *arguments: str) -> list[float]:
    """The numbers that a module of the suite prints in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    return [float(figure) for figure in run.stdout.split()]


def gemm_rate(n: int, d_in: int, d_out: int, dtype: str = "float32", repeat: int = 3) -> float:
    """Flops a second of NumPy's product (n, d_in) (d_in, d_out) at its current thread count."""
    A, B = np.ones((n, d_in), dtype), np.ones((d_in, d_out), dtype)
    out = np.empty((n, d_out), dtype)
    np.matmul(A, B, out=out)
    return 2 * n * d_in * d_out / seconds(lambda: np.matmul(A, B, out=out), repeat)
