"""Mini-batches with products in float32 and in bfloat16, on the processor: seconds and accuracy.

    python benchmarks/rounded_products.py --mnist FOLDER                 # both networks
    python benchmarks/rounded_products.py --mnist FOLDER --only passes --hidden 500x2

A pass is timed in processor time, with one thread, on the first samples; the two precisions take
turns in one process, and the least time of each counts. Accuracy is that on the test set.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from fastbcd import MiniBatchThreeSplitting, Problem, one_hot
from fastbcd.data import load

PRECISIONS = ("float32", "bf16")


def grey(X: Any) -> Any:
    """Return images between 0 and 1."""
    return X.astype(np.float32) / 255


def solver_for(hidden: str, precision: str, threads: int) -> MiniBatchThreeSplitting:
    """Return the solver of 784-hidden-10 with batches of 500."""
    width, layers = map(int, hidden.split("x"))
    problem = Problem((784, *[width] * layers, 10))
    return MiniBatchThreeSplitting(problem, batch_size=500, n_threads=threads, precision=precision)


def time_passes(hidden: str, data: Any, samples: int, turns: int) -> None:
    """Print the processor time of a pass in both precisions."""
    X, Y = grey(data.X_train[:samples]), one_hot(data.y_train[:samples], 10)
    solvers = [solver_for(hidden, precision, 1) for precision in PRECISIONS]
    states = [solver.init(X, Y, passes=turns + 1) for solver in solvers]
    seconds = np.zeros((turns + 1, 2))
    for turn in range(turns + 1):
        for k, (solver, state) in enumerate(zip(solvers, states, strict=True)):
            start = time.process_time()
            solver.step(state)
            seconds[turn, k] = time.process_time() - start
    least = seconds[1:].min(0) * 60000 / samples  # the first turn compiles
    ratios = seconds[1:, 0] / seconds[1:, 1]
    print(
        f"784-{hidden}-10: {least[0]:.2f} s a pass of 60,000 in float32, {least[1]:.2f} in bf16, "
        f"ratio {least[0] / least[1]:.2f} (turns {ratios.min():.2f} to {ratios.max():.2f})",
        flush=True,
    )


def measure_accuracy(hidden: str, data: Any, passes: list[int], seeds: int, threads: int) -> None:
    """Print the test accuracy of runs of so many passes in both precisions."""
    X, Y = grey(data.X_train), one_hot(data.y_train, 10)
    for n in passes:
        for precision in PRECISIONS:
            found = []
            for seed in range(seeds):
                fitted = solver_for(hidden, precision, threads).fit(X, Y, n, seed=seed)
                predicted = fitted.network.forward(grey(data.X_test)).argmax(1)
                found.append(f"{100 * np.mean(predicted == data.y_test):.2f}")
            print(f"784-{hidden}-10, {n} passes, {precision}: {', '.join(found)} %", flush=True)


def main() -> None:
    """Measure what the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--hidden", nargs="+", default=["500x2", "1500x3"])
    parser.add_argument("--only", choices=("passes", "accuracy"))
    parser.add_argument("--samples", type=int, default=10000)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--passes", type=int, nargs="+", default=[2, 5])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    data = load(options.mnist)
    for hidden in options.hidden:
        if options.only != "accuracy":
            time_passes(hidden, data, options.samples, options.turns)
        if options.only != "passes":
            measure_accuracy(hidden, data, options.passes, options.seeds, options.threads)


if __name__ == "__main__":
    main()
