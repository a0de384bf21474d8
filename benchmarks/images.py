"""Convolutional networks in mini-batches: accuracy of each pass on MNIST or CIFAR-10.

    python benchmarks/images.py --data FOLDER --network mnist --out runs.csv [--passes 10]
        [--eta ETA] [--batch 100] [--augment crop:2] [--decay D] [--unit spectral] [--momentum M]
        [--nesterov] [--gamma G] [--seeds 5] [--threads T] [--validation]

FOLDER is anything that `fastbcd train` reads. Each line of the CSV is a pass: its seconds so far,
without those of measuring, and the accuracy on the test set, or with `--validation` on the last
5,000 training samples, which then take no part. A run whose lines the file has is not repeated.
`image_rivals.py` trains the same networks in PyTorch and writes the same columns.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastbcd import MiniBatchThreeSplitting, Problem, one_hot
from fastbcd.data import load
from fastbcd.data.augmentation import Augmentation
from fastbcd.layers import build_layers
from fastbcd.training.loop import network_of

OF_A_RUN = ("method", "network", "batch", "rate", "decay", "passes", "seed", "measured_on")
COLUMNS = (*OF_A_RUN, "pass", "seconds", "accuracy")
VALIDATION = 5_000
# Layers, the shape of an image, and what is subtracted from a pixel and what divides it.
NETWORKS: dict[str, tuple[str, tuple[int, int, int], float, float]] = {
    "mnist": ("conv:32:5,maxpool:2,conv:64:5,maxpool:2,dense:256", (28, 28, 1), 0.0, 255.0),
    "cifar": (
        "conv:32:3:1:1,maxpool:2,conv:64:3:1:1,maxpool:2,conv:128:3:1:1,maxpool:2,dense:256",
        (32, 32, 3),
        121.0,
        64.0,
    ),
}


def samples(folder: Path, network: str, validation: bool) -> dict[str, Any]:
    """Return inputs (n, d) float32 and labels of the training and of the measured samples."""
    data = load(folder)
    _, _, mean, scale = NETWORKS[network]
    classes = np.unique(data.y_train)
    X, X_test = ((A.astype(np.float32) - mean) / scale for A in (data.X_train, data.X_test))
    y, y_test = (np.searchsorted(classes, labels) for labels in (data.y_train, data.y_test))
    if validation:
        X_test, y_test = X[-VALIDATION:], y[-VALIDATION:]
        X, y = X[:-VALIDATION], y[:-VALIDATION]
    return {"X": X, "y": y, "X_test": X_test, "y_test": y_test}


def passes(
    data: dict[str, Any], options: argparse.Namespace, seed: int
) -> Iterator[dict[str, Any]]:
    """Train one network, and yield the seconds and the accuracy of each pass."""
    text, image, _, _ = NETWORKS[options.network]
    layers = build_layers(text, image, 10)
    problem = Problem(layers=layers, loss="cross_entropy", gamma=options.gamma)
    solver = MiniBatchThreeSplitting(
        problem,
        batch_size=options.batch,
        step_size=options.eta,
        step_unit=options.unit,
        momentum=options.momentum,
        nesterov=options.nesterov,
        rho=16.0 * options.gamma,
        weight_decay=options.decay,
        augment=augmentation(options),
        n_threads=options.threads,
    )
    state = solver.init(data["X"], one_hot(data["y"], 10), seed=seed, passes=options.passes)
    seconds = 0.0
    for k in range(1, options.passes + 1):
        start = time.perf_counter()
        solver.step(state)
        seconds += time.perf_counter() - start
        outputs = network_of(solver, state).forward(data["X_test"], options.threads)
        accuracy = float(np.mean(outputs.argmax(1) == data["y_test"]))
        yield {"pass": k, "seconds": round(seconds, 2), "accuracy": round(accuracy, 5)}


def augmentation(options: argparse.Namespace) -> Augmentation | None:
    """Return what moves the images; the pixels around them are black."""
    if options.augment is None:
        return None
    _, image, mean, scale = NETWORKS[options.network]
    return Augmentation(options.augment, image, padding=-mean / scale)


def settings(options: argparse.Namespace, method: str, seed: int) -> tuple[str, ...]:
    """Return the columns that tell runs apart."""
    of = (options.network, options.batch, options.eta, options.decay, options.passes, seed)
    return tuple(map(str, (method, *of, "validation" if options.validation else "test")))


def add(path: Path, run: tuple[str, ...], lines: Iterator[dict[str, Any]]) -> None:
    """Write the `lines` of a run to the file at `path`, all at its end, and print them."""
    finished = []
    for line in lines:
        finished.append(dict(zip(OF_A_RUN, run, strict=True)) | line)
        print(*finished[-1].values(), flush=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(finished)


def done(path: Path) -> set[tuple[str, ...]]:
    """Return the runs of the file."""
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {tuple(row[name] for name in OF_A_RUN) for row in csv.DictReader(file)}


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return the options that both programs have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--network", choices=NETWORKS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--decay", type=float, default=0.0, help="weight decay; default: 0")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--validation", action="store_true")
    return parser


def main() -> None:
    """Train, and write."""
    parser = arguments(__doc__)
    parser.add_argument("--eta", type=float, help="step size; default: the solver's")
    parser.add_argument("--unit", help="step unit; default: the solver's")
    parser.add_argument("--momentum", type=float, help="default: the solver's")
    parser.add_argument("--nesterov", action="store_true", help="Nesterov's form of the momentum")
    parser.add_argument(
        "--gamma", type=float, default=1.0, help="weight of the couplings; rho is 16 times as much"
    )
    parser.add_argument("--augment", help="as in `fastbcd train`; default: none")
    options = parser.parse_args()
    data = samples(options.data, options.network, options.validation)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        more = (("momentum", options.momentum, None), ("gamma", options.gamma, 1.0))
        other = [f"{name} {value:g}" for name, value, usual in more if value != usual]
        other += ["nesterov"] if options.nesterov else []
        method = ", ".join(filter(None, ("fastbcd", options.unit, options.augment, *other)))
        run = settings(options, method, seed)
        if run not in done(options.out):
            add(options.out, run, passes(data, options, seed))


if __name__ == "__main__":
    main()
