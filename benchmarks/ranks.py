"""Two ranks of one thread compared with one process of two threads: 784-1500x3-10, 60,000 samples.

    python benchmarks/ranks.py [--mnist FOLDER] [--rounds N]

Runs take turns; each starts anew and takes the median of its iterations after the first. Prints
one line: seconds of both, the throughput ratio (median over rounds; promised: at least 0.9, status
1 where it is less), and where the ranks' time goes. Five minutes on two cores that do nothing
else; two ranks that wait keep a core busy, so other work makes the ratio worse than it is.
Without FOLDER, MNIST's four IDX files, the samples are random: the times are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from cost_model import mpiexec
from scaling.observe import Watched
from suite.iteration import random_classes

from fastbcd import Problem, ThreeSplitting, one_hot
from fastbcd.data import load

WIDTHS, SAMPLES, LIMIT = (784, 1500, 1500, 1500, 10), 60_000, 0.9
PARTS = ("clock", "busy", "waiting", "all_reduce", "gather")


def watch(options: argparse.Namespace) -> None:
    """Print medians of the times of an iteration on the slowest rank, as JSON."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    problem = Problem(WIDTHS, reduction="sum")
    solver = ThreeSplitting(problem, alpha=5.0, n_threads=options.threads, comm=comm)
    rows = solver.rows(options.samples)
    if options.mnist is None:
        X, Y = random_classes(WIDTHS, options.samples)
    else:
        read = load(options.mnist)
        X, Y = read.X_train.astype(np.float32) / 255, one_hot(read.y_train.astype(int), 10)
        rows = solver.rows(len(X))
    X, Y = X[rows].copy(), Y[rows].copy()
    ranks = solver.device.ranks
    watched = solver.device.ranks = Watched(ranks)  # type: ignore[assignment]
    state = solver.step(solver.init(X, Y, seed=40, init="normal:0.01", bias=0.1))
    found = []
    for _ in range(options.iterations):
        ranks.max(np.zeros(1))
        watched.clear()
        start = time.perf_counter()
        solver.step(state)
        watched.pause()
        clock = time.perf_counter() - start
        times = (watched.busy, watched.waiting, watched.sums.seconds, watched.rows_sent.seconds)
        slowest = np.array([clock, *times])
        ranks.max(slowest)
        found.append(slowest)
    if comm.rank == 0:
        print(json.dumps(dict(zip(PARTS, np.median(found, axis=0).tolist(), strict=True))))


def times(n_ranks: int, n_threads: int, options: argparse.Namespace) -> dict[str, float]:
    """The result of `watch` on so many ranks."""
    command = [*(mpiexec(), "-n", str(n_ranks), sys.executable, "-m", "mpi4py", __file__)]
    command += ["--threads", str(n_threads), "--samples", str(options.samples)]
    command += ["--iterations", str(options.iterations)]
    command += [] if options.mnist is None else ["--mnist", str(Path(options.mnist).resolve())]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=3600)
    return json.loads(done.stdout)


def main() -> None:
    """Print the line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mnist", metavar="FOLDER", help="folder of MNIST's four IDX files")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="where they are random")
    parser.add_argument("--rounds", type=int, default=2, help="of one run each")
    parser.add_argument("--iterations", type=int, default=3, help="after the first of each run")
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)  # of a rank
    options = parser.parse_args()
    if options.threads is not None:
        watch(options)
        return
    rounds = [(times(1, 2, options), times(2, 1, options)) for _ in range(options.rounds)]
    ratios = [one["clock"] / two["clock"] for one, two in rounds]
    ratio = float(np.median(ratios))
    one, two = ({p: float(np.median([r[i][p] for r in rounds])) for p in PARTS} for i in (0, 1))
    shares = ", ".join(f"{two[part] / two['clock']:.1%} {part}" for part in PARTS[1:])
    print(
        f"2 ranks of 1 thread {two['clock']:.2f} s, 1 process of 2 threads {one['clock']:.2f} s an "
        f"iteration: throughput ratio {ratio:.3f} ({', '.join(f'{r:.3f}' for r in ratios)}); "
        f"of the slowest rank's time {shares.replace('_', '-')}; processor seconds of a thread "
        f"{two['busy']:.2f} and {one['busy'] / 2:.2f}; load average {os.getloadavg()[0]:.1f}"
    )
    sys.exit(0 if ratio >= LIMIT else 1)


if __name__ == "__main__":
    main()
