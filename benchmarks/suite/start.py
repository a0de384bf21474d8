"""The cost of a process before its first iteration."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

IMPORT = "import time; s = time.perf_counter(); import fastbcd; print(time.perf_counter() - s)"
FIRST_FIT = """
import time
import numpy as np
from fastbcd import Problem, ThreeSplitting, one_hot
from fastbcd.callbacks import Objective
rng = np.random.default_rng(0)
X, Y = rng.random((1500, 64)), one_hot(rng.integers(10, size=1500), 10)
for _ in range(2):
    start = time.perf_counter()
    ThreeSplitting(Problem((64, 128, 128, 10))).fit(X, Y, max_iter=5, callbacks=[Objective()])
    print(time.perf_counter() - start)
"""


def numbers(script: str, **environment: str) -> list[float]:
    """The numbers that a new process prints."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={**inherited, **environment},
    )
    return [float(line) for line in run.stdout.split()]


def import_seconds(repeat: int = 5) -> float:
    """Seconds to import an installed package, whose files are compiled to bytecode."""
    with tempfile.TemporaryDirectory() as folder:
        return min(numbers(IMPORT, PYTHONPYCACHEPREFIX=folder)[0] for _ in range(repeat))


def first_fit_seconds() -> tuple[float, float]:
    """Seconds by which a process's first fit is slower than its second: cold cache, warm cache."""
    with tempfile.TemporaryDirectory() as cache:
        extra = [
            first - second
            for first, second in (numbers(FIRST_FIT, NUMBA_CACHE_DIR=cache) for _ in range(3))
        ]
    return extra[0], min(extra[1:])


class Start:
    unit = "seconds"
    timeout = 300

    def setup_cache(self):
        cold, warm = first_fit_seconds()
        return {"import": import_seconds(), "first fit, cold": cold, "first fit, warm": warm}

    setup_cache.timeout = 300

    def track_import(self, seconds):
        return seconds["import"]

    def track_first_fit_cold(self, seconds):
        return seconds["first fit, cold"]

    def track_first_fit_warm(self, seconds):
        return seconds["first fit, warm"]
