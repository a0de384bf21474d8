"""What an iteration or a batch does, in counts, which mean the same on every machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

from fastbcd import MiniBatchThreeSplitting, Problem, ThreeSplitting

from .iteration import random_classes
from .start import FIRST_FIT

SAMPLES, BATCH_SIZE = 1000, 100
WIDTHS = (64, 128, 128, 10)
SIGNATURES = """
import gc
from numba.core.dispatcher import Dispatcher
own = [d for d in gc.get_objects() if isinstance(d, Dispatcher)]
print(sum(len(d.signatures) for d in own if d.py_func.__module__.startswith("fastbcd")))
"""


def python_calls(function: Any) -> int:
    """Return the number of Python functions that one call of `function` enters."""
    count = 0

    def count_call(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(count_call)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def allocated_bytes(function: Any) -> int:
    """Return by how much Python's and NumPy's memory grows at most during one call."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


class Counts:
    """A later iteration of Algorithm 2, and a batch of a later pass; one thread."""

    params = (["iteration", "batch"],)
    param_names = ("step",)

    def setup(self, step):
        problem, (X, Y) = Problem(WIDTHS), random_classes(WIDTHS, SAMPLES)
        if step == "iteration":
            solver, self.steps = ThreeSplitting(problem, n_threads=1), 1
        else:
            options = {"batch_size": BATCH_SIZE, "schedule": "constant", "n_threads": 1}
            solver = MiniBatchThreeSplitting(problem, **options)
            self.steps = SAMPLES // BATCH_SIZE
        state = solver.step(solver.init(X, Y))
        self.run = lambda: solver.step(state)

    def track_python_calls(self, step):
        return python_calls(self.run) / self.steps

    track_python_calls.unit = "calls"

    def track_allocated_bytes(self, step):
        return allocated_bytes(self.run)

    track_allocated_bytes.unit = "bytes"


class Signatures:
    """How many functions of the package a first fit compiles, each for each of its types.

    The cache is empty: functions that others call are not counted where they come from a cache.
    """

    unit = "compiled signatures"
    timeout = 300

    def track_of_a_first_fit(self):
        with tempfile.TemporaryDirectory() as cache:
            run = subprocess.run(
                [sys.executable, "-c", FIRST_FIT + SIGNATURES],
                check=True,
                capture_output=True,
                text=True,
                cwd=Path(__file__).parents[1],
                env={**os.environ, "NUMBA_CACHE_DIR": cache},
            )
        return int(run.stdout.split()[-1])
