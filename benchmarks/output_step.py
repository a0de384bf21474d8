"""Two units of the mini-batch step size: accuracy on held-out training samples, pass by pass.

    python benchmarks/output_step.py (--mnist FOLDER | --cifar FOLDER) [--networks NAME ...]
        [--samples N] [--batches M ...] [--etas ETA ...] [--factors F ...] [--seeds K] [--norms]

Trains on N samples of the training set and measures on 5,000 others; the test set is not read. It
prints a Markdown table: the mean over seeds of the accuracy after 1, 2 and 3 passes. A line of
"fit" has the default step size times a factor, a line of "output" has the step size eta.
MNIST's FOLDER holds IDX files. CIFAR's FOLDER holds train.npz with the arrays `jpeg` (the bytes of
all images, one after another), `offsets` (n + 1) and `labels`. With the default options MNIST takes
about five minutes on one core.

With --norms it prints instead, for each layer after two of three passes, how well the change of the
outputs by a step can be known: from the low-rank Gram matrix, and from n held-out samples.
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
from fastbcd.layers import Conv2d, Dense, Layer
from fastbcd.solvers.mini_batch.gram_metric import GramMetric

PASSES, VALIDATION = 3, 5000


def main() -> None:
    """Print the table."""
    options = arguments()
    X, y, image = mnist(options.mnist) if options.mnist else cifar(options.cifar, options.samples)
    n = options.samples
    if options.norms:
        print_norms(image, X, y, options)
        return
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
    parser.add_argument("--norms", action="store_true")
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


def print_norms(
    image: tuple[int, int, int], X: NDArray[Any], y: NDArray[Any], options: argparse.Namespace
) -> None:
    """Print the error of each estimate of ``rms(A(V; Z))``, relative to all held-out samples."""
    n, counts, rng = options.samples, (16, 32, 64, 250), np.random.default_rng(0)
    heads = " | ".join(f"{k} samples" for k in counts)
    print(f"| network, layer | from the Gram matrix | {heads} |\n|---|---|{'---|' * len(counts)}")
    for network in options.networks:
        problem = dense(image) if network == "dense" else convolutional(image)
        solver = MiniBatchThreeSplitting(problem, 250)
        state = solver.init(X[:n], one_hot(y[:n], 10), passes=3)
        for _ in range(2):
            solver.step(state)
        kernels, V = solver.device.kernels, X[n : n + 2000]
        for l, layer in enumerate(problem.layers, start=1):
            V = np.c_[V, np.ones(len(V), V.dtype)]
            metric, M = state.metrics[l], state.S[l]
            Z = M - (M @ metric.Q) @ metric.directions
            change, U = (np.empty((len(V), layer.d_out), V.dtype) for _ in range(2))
            layer.batch_apply(kernels, change, V, Z)
            squares = np.square(change, dtype=np.float64).mean(axis=1)
            whole = np.sqrt(squares.mean())
            estimate = np.sqrt(from_the_metric(layer, metric, kernels, V, Z)) / whole
            spread = [
                np.std([np.sqrt(rng.choice(squares, k).mean()) / whole for _ in range(200)])
                for k in counts
            ]
            columns = " | ".join(f"{100 * s:.1f} %" for s in spread)
            print(f"| {network}, {l} | {100 * (estimate - 1):+.0f} % | {columns} |", flush=True)
            layer.batch_apply(kernels, U, V, state.W[l])
            V = np.maximum(U, 0)


def from_the_metric(
    layer: Layer, metric: GramMetric, kernels: Any, V: NDArray[Any], Z: NDArray[Any]
) -> float:
    """``tr(Z G Z^T) / d_out`` with the G that the metric holds, per output."""
    projected = np.empty((len(V), metric.rank), V.dtype)
    layer.batch_project(kernels, projected, V, metric.Q)
    sketch = np.empty_like(metric.Q)
    trace = layer.batch_sketch(
        kernels, sketch, V, metric.Q, projected, scale=1 / len(V), keep=0.0
    ) / len(V)
    kept = np.linalg.norm(sketch, axis=0)  # eigenvalues, of these samples
    rest = max(trace - kept.sum(), 0.0) / (len(metric.Q) - metric.rank)
    along = np.square(Z @ metric.Q).sum(axis=0)
    total = along @ kept + rest * (np.square(Z).sum() - along.sum())
    return float(total / layer.d_out)


if __name__ == "__main__":
    main()
