"""Cores of this process; threads and names of the BLAS that NumPy and SciPy bring."""

from __future__ import annotations

import os

from threadpoolctl import threadpool_info


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blas_threads() -> int:
    """Threads of the BLAS libraries that this process has loaded."""
    return max((library["num_threads"] for library in _loaded()), default=1)


def blas_names() -> str:
    """Such as ``openblas 0.3.30, openblas 0.3.31``."""
    names = {f"{library['internal_api']} {library['version']}" for library in _loaded()}
    return ", ".join(sorted(names)) or "unknown"


def _loaded() -> list[dict]:
    return [library for library in threadpool_info() if library["user_api"] == "blas"]
