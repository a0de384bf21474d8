"""A pass of mini-batches on MNIST: with CUDA graphs and without, and several networks at once."""

from __future__ import annotations

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from common import Results, samples

from fastbcd import Problem
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting

HIDDEN = (500, 500)


def seconds_of_a_pass(
    X: Any, Y: Any, networks: int, graphs: bool = True, passes: int = 3, **options: Any
) -> float:
    """Median seconds of a pass of so many networks at once, which differ by their seed."""
    import cupy

    X, Y = (cupy.asarray(array, np.float32) for array in (X, Y))  # one copy for all
    solvers, states = [], []
    for seed in range(networks):
        problem = Problem((X.shape[1], *HIDDEN, Y.shape[1]), loss="cross_entropy")
        solver = MiniBatchThreeSplitting(problem, device="cuda", **options)
        solver.device.batches.graphs = graphs
        solvers.append(solver)
        states.append(solver.init(X, Y, seed=seed, passes=passes + 1))
    times = []
    with ThreadPoolExecutor(networks) as threads:
        for _ in range(passes + 1):
            begin = time.perf_counter()
            running = [
                threads.submit(solver.step, state)
                for solver, state in zip(solvers, states, strict=True)
            ]
            for one in running:
                one.result()  # the end of a step waits for the card
            times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])  # the first one compiles and captures


def main(out: str, folder: str | None = None) -> int:
    """Measure and write."""
    results = Results(Path(out))
    X, Y = samples(folder)
    for batch in (500, 250):
        one = seconds_of_a_pass(X, Y, 1, batch_size=batch)
        without = seconds_of_a_pass(X, Y, 1, graphs=False, batch_size=batch)
        results[f"seconds of a pass, batches of {batch}"] = {"graphs": one, "without": without}
    for precision in ("tf32", "bf16"):
        one = seconds_of_a_pass(X, Y, 1, precision=precision)
        results[f"seconds of a pass, {precision}"] = one
    for networks in (1, 2, 4, 8, 32):
        seconds = seconds_of_a_pass(X, Y, networks, passes=2, precision="tf32")
        results[f"{networks} at once"] = {
            "seconds of a pass of all": seconds,
            "passes of a network in a second": networks / seconds,
        }
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
