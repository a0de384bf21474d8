"""Seconds to 98.5 % on MNIST on a processor: the rules are in docs/speedrun.md.

    python benchmarks/speedrun.py --mnist FOLDER [--entries NAME ...] [--runs 10] [--threads N]
        [--out FILE.json]
    python benchmarks/speedrun.py --mnist FOLDER --tune [--entries NAME ...]

Each entry has a process of its own, which compiles first and then waits; the entries take turns,
one run at a time. The clock of a run starts when the entry gets the grey levels of the training
images, and stops when it returns its predictor. The test images are classified afterwards. An entry
counts if the mean accuracy of its runs is at least 98.5 %. `--out` keeps every run.

`--tune` tries the settings of an entry's `GRIDS` on the first 50,000 training images, prints
accuracies on the last 10,000, and reads no test set.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import sys
import time
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parent / "peers")]
from arguments import Parser, count  # noqa: E402 -- it lies in the folder above
from libraries import cores  # noqa: E402
from mnist import Samples, read_grey, without_test_set  # noqa: E402
from report import machine  # noqa: E402
from runs import Run, cells, holds, seconds_of, shown  # noqa: E402
from speedrun_entries import ENTRIES, GRIDS, PACKAGES, made  # noqa: E402

TARGET = 0.985


class Runner:
    """The process of one entry: `prepare` it, and then `run` it with each seed."""

    def __init__(self, name: str, images: Samples, threads: int) -> None:
        processes = multiprocessing.get_context("spawn")
        self._own, other = processes.Pipe()
        work = (other, name, images, threads)
        self._process = processes.Process(target=serve, args=work, daemon=True)
        self._process.start()
        other.close()

    def prepare(self, settings: dict[str, Any]) -> tuple[float, str]:
        """Return the seconds that it took to import and compile, and the library of products."""
        return self._answer(settings)

    def run(self, seed: int) -> Run:
        """Train and measure once."""
        return Run(seed, *self._answer(seed))

    def stop(self) -> None:
        """End the process."""
        self._own.close()
        self._process.join()

    def _answer(self, question: dict[str, Any] | int) -> Any:
        self._own.send(question)
        try:
            return self._own.recv()
        except EOFError:
            raise RuntimeError("the process of the entry ended; its error is above") from None


def serve(pipe: Connection, name: str, images: Samples, threads: int) -> None:
    """Prepare the entry when settings come through the pipe, and train when a seed comes."""
    while True:
        try:
            question = pipe.recv()
        except EOFError:
            return
        start = time.perf_counter()
        if isinstance(question, dict):
            entry = made(name, question, threads)
            entry.prepare()
            pipe.send((time.perf_counter() - start, entry.blas))
        else:
            predict = entry.train(images.X, images.y, question)
            seconds = time.perf_counter() - start
            pipe.send((seconds, float(np.mean(predict(images.X_test) == images.y_test))))


def main() -> None:
    """Tune, or run and print the board."""
    parser = Parser("benchmarks/speedrun.py", __doc__)
    parser.add_argument("--mnist", metavar="FOLDER", required=True, help="MNIST's IDX files")
    parser.add_argument("--entries", nargs="+", choices=list(ENTRIES), default=list(ENTRIES))
    parser.add_argument("--runs", type=count, default=10, metavar="N", help="default: 10")
    parser.add_argument("--threads", type=count, default=cores(), metavar="N",
                        help="of each entry; default: all cores")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="every run")
    parser.add_argument("--tune", action="store_true", help="settings on a part of training")
    options = parser.parse_args()
    parser.check_packages({name: PACKAGES[name] for name in options.entries}, "--entries")
    images = parser.samples(options.mnist, read_grey)
    if options.tune:
        tune(without_test_set(images), options)
    else:
        board(images, options)


def tune(images: Samples, options: argparse.Namespace) -> None:
    """Print seconds and held-out accuracy of every candidate, the fastest first."""
    for name in options.entries:
        tried, runner = [], Runner(name, images, options.threads)
        for candidate in GRIDS[name]:
            runner.prepare(candidate)
            run = runner.run(0)
            tried.append((run.seconds, run.accuracy, candidate))
        runner.stop()
        for seconds, accuracy, candidate in sorted(tried, key=lambda trial: trial[0]):
            print(f"{name}: {seconds:.2f} s, {accuracy:.4f}, {shown(candidate)}", flush=True)


def board(images: Samples, options: argparse.Namespace) -> None:
    """Let the entries run in turn, and print the table."""
    runners = {name: Runner(name, images, options.threads) for name in options.entries}
    prepared = {name: runner.prepare({}) for name, runner in runners.items()}
    runs: dict[str, list[Run]] = {name: [] for name in runners}
    for seed, name in itertools.product(range(options.runs), runners):
        runs[name].append(runners[name].run(seed))
        if options.out:
            held = {name: [asdict(run) for run in of_entry] for name, of_entry in runs.items()}
            options.out.write_text(json.dumps(held, indent=1) + "\n")
    for runner in runners.values():
        runner.stop()
    print(f"MNIST to {TARGET:.1%}, {options.threads} threads, {options.runs} runs in turn\n")
    print("| entry | seconds | mean accuracy | counts | seconds to prepare | settings |")
    print("|---|---|---|---|---|---|")
    for name in sorted(runs, key=lambda name: place(runs[name])):
        print("| " + " | ".join(line(name, runs[name], prepared[name][0])) + " |")
    libraries = {
        name: {"threads": options.threads, "blas": blas} for name, (_, blas) in prepared.items()
    }
    print(f"\n{machine(libraries)}")


def place(runs: list[Run]) -> tuple[bool, float]:
    """Return what the board is sorted by: entries that count come first, the fastest before."""
    return not holds(runs, TARGET), seconds_of(runs)


def line(name: str, runs: list[Run], preparation: float) -> list[str]:
    """Return the columns of an entry."""
    return [name, *cells(runs, TARGET), f"{preparation:.1f}", shown(ENTRIES[name])]


if __name__ == "__main__":
    main()
