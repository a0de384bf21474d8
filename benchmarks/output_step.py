"""Two units of the mini-batch step size: accuracy on held-out training samples, pass by pass.

    python benchmarks/output_step.py (--mnist FOLDER | --cifar FOLDER) [--networks NAME ...]
        [--samples N] [--batches M ...] [--etas ETA ...] [--factors F ...] [--seeds K]

Trains on N samples of the training set and measures on 5,000 others; the test set is not read. It
prints a Markdown table: the mean over seeds of the accuracy after 1, 2 and 3 passes. A line of
"fit" has the default step size times a factor, a line of "output" has the step size eta.
MNIST's FOLDER holds IDX files. CIFAR's FOLDER holds train.npz with the arrays `jpeg` (the bytes of
all images, one after another), `offsets` (n + 1) and `labels`. With the default options MNIST takes
about five minutes on one core.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd import MiniBatchThreeSplitting, Problem, one_hot
from fastbcd.callbacks import Accuracy
from fastbcd.data import load
from fastbcd.layers import Conv2d, Dense

PASSES, VALIDATION = 3, 5000


def main() -> None:
    """Print the table."""
    options = arguments()
    X, y, image = mnist(options.mnist) if options.mnist else cifar(options.cifar, options.samples)
    n = options.samples
    training, held_out = (X[:n], y[:n]), (X[n : n + VALIDATION], y[n : n + VALIDATION])
    print("| network | batch | step size | after 1 | 2 | 3 passes |")
    print("|---|---|---|---|---|---|")
    for network in options.networks:
        problem = dense(image) if network == "dense" else convolutional(image)
        for m in options.batches:
            for name, solver in solvers(problem, m, n, options):
                runs = [accuracies(solver, training, held_out, k) for k in range(options.seeds)]
                columns = " | ".join(f"{100 * a:.2f}" for a in np.mean(runs, axis=0))
                print(f"| {network} | {m} | {name} | {columns} |", flush=True)


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--mnist", type=Path, metavar="FOLDER")
    data.add_argument("--cifar", type=Path, metavar="FOLDER")
    names = ["dense", "convolutional"]
    parser.add_argument("--networks", nargs="+", choices=names, default=names)
    parser.add_argument("--samples", type=int, default=10000)
    parser.add_argument("--batches", type=int, nargs="+", default=[100, 250])
    parser.add_argument("--etas", type=float, nargs="*", default=[0.03, 0.05, 0.1, 0.2])
    parser.add_argument("--factors", type=float, nargs="*", default=[1.0, 2.0, 4.0])
    parser.add_argument("--seeds", type=int, default=2)
    return parser.parse_args()


def mnist(folder: Path) -> tuple[NDArray[Any], NDArray[Any], tuple[int, int, int]]:
    """Return the training images between 0 and 1, their labels, and the shape of an image."""
    data = load(folder)
    return data.X_train.astype(np.float32) / 255, data.y_train, (28, 28, 1)


def cifar(folder: Path, n: int) -> tuple[NDArray[Any], NDArray[Any], tuple[int, int, int]]:
    """Return the first training images between 0 and 1, their labels, and the shape of an image."""
    from PIL import Image

    with np.load(folder / "train.npz") as data:
        jpeg, offsets, labels = data["jpeg"], data["offsets"], data["labels"]
    X = np.empty((n + VALIDATION, 32 * 32 * 3), np.float32)
    for i, row in enumerate(X):
        data = jpeg[offsets[i] : offsets[i + 1]].tobytes()
        row[:] = np.asarray(Image.open(io.BytesIO(data)), np.float32).ravel() / 255
    return X, labels[: len(X)], (32, 32, 3)


def dense(image: tuple[int, int, int]) -> Problem:
    """Return two hidden layers of 300."""
    return Problem((int(np.prod(image)), 300, 300, 10), loss="cross_entropy")


def convolutional(image: tuple[int, int, int]) -> Problem:
    """Return two convolutions with stride 2, of 16 and 32 channels, and a hidden layer of 64."""
    first = Conv2d(image, channels=16, kernel=5, stride=2)
    second = Conv2d(first.image_out, channels=32, kernel=5, stride=2)
    layers = [first, second, Dense(second.d_out, 64), Dense(64, 10)]
    widths = (first.d_in, *(layer.d_out for layer in layers))
    return Problem(widths, layers=layers, loss="cross_entropy")


def solvers(
    problem: Problem, m: int, n: int, options: argparse.Namespace
) -> Iterator[tuple[str, MiniBatchThreeSplitting]]:
    """Yield each solver with its name in the table."""
    usual = MiniBatchThreeSplitting(problem, m).settings(n).step_size
    for factor in options.factors:
        yield (
            f"fit, {factor * usual:.3f} (default times {factor:g})",
            MiniBatchThreeSplitting(problem, m, step_size=factor * usual),
        )
    for eta in options.etas:
        solver = MiniBatchThreeSplitting(problem, m, step_size=eta, step_unit="output")
        yield f"output, {eta:g}", solver


def accuracies(
    solver: MiniBatchThreeSplitting,
    training: tuple[NDArray[Any], NDArray[Any]],
    held_out: tuple[NDArray[Any], NDArray[Any]],
    seed: int,
) -> list[float]:
    """Return the accuracy on held-out samples after each pass."""
    X, y = training
    measured = Accuracy("test", *held_out)
    result = solver.fit(X, one_hot(y, 10), max_iter=PASSES, seed=seed, callbacks=[measured])
    return [row["test_accuracy"] for row in result.history]


if __name__ == "__main__":
    main()
