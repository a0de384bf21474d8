"""Full batches on MNIST: F and accuracy over iterations and seconds, plain and accelerated.

    python benchmarks/full_batch.py --mnist FOLDER --out runs.csv [--algorithm two] [--hidden 512x2]
        [--seeds 5] [--iterations 150] [--acceleration nesterov none] [--validation] [--device cuda]

Each line of the CSV is one iteration: its F, the seconds of all iterations so far, restarts, and
every tenth iteration the accuracy. With `--validation` the last 10,000 training samples measure it
and take no part; without, the test set does. A run whose lines the file has is not repeated.
`full_batch_report.py` makes a table and a picture of the file.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fastbcd import Problem, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.data import load
from fastbcd.training.loop import network_of

COLUMNS = (
    "algorithm", "hidden", "residual", "gamma", "ridge", "acceleration", "seed", "measured_on",
    "device", "iteration", "seconds", "objective", "restarts", "accuracy",
)  # fmt: skip
VALIDATION, EVERY = 10_000, 10
# The columns that tell runs apart.
OF_A_RUN = COLUMNS[: COLUMNS.index("iteration")]
ALGORITHMS = {"two": TwoSplitting, "three": ThreeSplitting}


def rows(options: argparse.Namespace, acceleration: str, seed: int) -> Iterator[dict[str, object]]:
    """Train one network, and yield its lines."""
    samples = load(options.mnist)
    X, y = samples.X_train.astype(np.float32) / 255, samples.y_train.astype(int)
    X_test, y_test = samples.X_test.astype(np.float32) / 255, samples.y_test.astype(int)
    if options.validation:
        X_test, y_test = X[-VALIDATION:], y[-VALIDATION:]
        X, y = X[:-VALIDATION], y[:-VALIDATION]
    width, depth = map(int, options.hidden.split("x"))
    problem = Problem(
        (X.shape[1], *[width] * depth, 10),
        gamma=options.gamma,
        weight_penalty=f"ridge:{options.ridge}",
        residual=options.residual,
    )
    solver = ALGORITHMS[options.algorithm](
        problem,
        alpha=options.alpha,
        acceleration=None if acceleration == "none" else acceleration,
        n_threads=options.threads,
        device=options.device,
    )
    state, seconds = solver.init(X, one_hot(y, 10), seed=seed), 0.0
    for k in range(1, options.iterations + 1):
        start = time.perf_counter()
        solver.step(state)
        seconds += time.perf_counter() - start
        momentum = state.momentum
        row: dict[str, object] = dict(zip(COLUMNS, key(options, acceleration, seed), strict=False))
        row |= {
            "iteration": k,
            "seconds": round(seconds, 3),
            "objective": float(solver.objective(state) if momentum is None else momentum.objective),
            "restarts": 0 if momentum is None else momentum.restarts,
        }
        if k % EVERY == 0:
            outputs = network_of(solver, state).forward(X_test, options.threads)
            row["accuracy"] = float(np.mean(outputs.argmax(axis=1) == y_test))
        yield row


def key(options: argparse.Namespace, acceleration: str, seed: int) -> tuple[str, ...]:
    """Return the first columns of a run."""
    settings = [getattr(options, name) for name in ("algorithm", "hidden", "residual", "gamma")]
    measured_on = "validation" if options.validation else "test"
    return tuple(
        map(str, (*settings, options.ridge, acceleration, seed, measured_on, options.device))
    )


def done(path: Path) -> set[tuple[str, ...]]:
    """Return the runs of the file, by their first columns."""
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {tuple(row[name] for name in OF_A_RUN) for row in csv.DictReader(file)}


def main() -> None:
    """Read the command line, and add the runs to the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mnist", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="two")
    parser.add_argument("--hidden", default="512x2", help="width x number of hidden layers")
    parser.add_argument("--residual", action="store_true")
    parser.add_argument("--gamma", type=float, default=1.0)
    parser.add_argument("--ridge", type=float, default=3e-4)
    parser.add_argument("--alpha", type=float, default=1e-3)
    parser.add_argument("--acceleration", nargs="+", default=["nesterov", "none"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    for seed in range(options.seeds):
        for acceleration in options.acceleration:
            if key(options, acceleration, seed) in done(options.out):
                continue
            run = []
            for row in rows(options, acceleration, seed):
                run.append(row)
                if "accuracy" in row:
                    print(*(row[name] for name in COLUMNS if row[name] is not None), flush=True)
            new = not options.out.exists()
            with options.out.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if new:
                    writer.writeheader()
                writer.writerows(run)


if __name__ == "__main__":
    main()
