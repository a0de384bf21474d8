"""The processor of a machine with many cores: an iteration and a pass relative to their BLAS.

For each number of threads a process of its own: seconds of one full-batch iteration of
784-1500x3-10 on 20,000 samples and of a pass of mini-batches of 784-500x2-10, each over the sum
of its own BLAS calls, timed in the same process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import WIDTHS, Results, samples

SUITE = Path(__file__).resolve().parents[1]
N = 20_000


def measured(folder: str | None) -> dict[str, Any]:
    """In this process: seconds and ratios."""
    sys.path[:0] = [str(SUITE)]
    from suite.floor import Floor, irreducible_calls
    from suite.iteration import ratio_of_pass
    from suite.measure import seconds

    from fastbcd import MiniBatchThreeSplitting, Problem, ThreeSplitting

    X, Y = samples(folder, N)
    solver = ThreeSplitting(Problem(WIDTHS, reduction="sum"), alpha=5.0)
    state = solver.init(X, Y, seed=40, init="normal:0.01", bias=0.1)
    solver.step(state)
    floor = Floor(irreducible_calls(WIDTHS, N))
    step, products = seconds(lambda: solver.step(state), 2), floor.seconds()
    widths = (784, 500, 500, 10)
    batches = MiniBatchThreeSplitting(Problem(widths))
    running = batches.init(X, Y, passes=40)
    batches.step(running)
    a_pass = seconds(lambda: batches.step(running), 3)
    ratio = ratio_of_pass(batches, running)
    return {
        "iteration, s": step,
        "over its BLAS calls": step / products,
        "pass of mini-batches, s": a_pass,
        "pass over its BLAS calls": ratio,
        "threads": solver.device.n_threads,
    }


def main(out: str, folder: str | None = None) -> int:
    """Measure with 16, 8, 4, 2 and 1 threads, in this order: the shortest first."""
    results = Results(Path(out))
    for threads in (16, 8, 4, 2, 1):
        if threads > (os.cpu_count() or 1):
            continue
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
        }
        command = [sys.executable, __file__, "--one", *([folder] if folder else [])]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        results[f"{threads} threads"] = (
            json.loads(lines[-1]) if done.returncode == 0 else {"failed": done.stderr[-2000:]}
        )
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        print(json.dumps(measured(*(sys.argv[2:] or [None]))))
        sys.exit(0)
    sys.exit(main(*sys.argv[1:]))
