"""Results of the settings that mini-batches choose, on small data sets, beside scikit-learn.

    python benchmarks/defaults.py [--hidden D1,D2,...] [--seeds N] [--only SET ...]

Twelve sets that scikit-learn ships or makes, seven of classes and five of numbers. Three
quarters of each are trained on, inputs cut at five deviations as the command line does unless
a line says otherwise; the table has the error on the rest in per cent, wrong classes or
``1 - R^2``, in the mean over seeds of the split and the weights. The last column is the
geometric mean of the errors relative to the first line, after 0.2 is added to each.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.neural_network import MLPClassifier, MLPRegressor

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from arguments import Parser, count, widths

from fastbcd import MiniBatchThreeSplitting, Problem, one_hot
from fastbcd.data import Preprocessing

Predict = Callable[[Any], Any]


def upper_half_of_digits() -> tuple[Any, Any]:
    """Inputs are the upper halves of digits, targets the amount of ink in the lower halves."""
    X = datasets.load_digits().data
    return X[:, :32], X[:, 32:].sum(axis=1)


CLASSES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "digits": lambda: datasets.load_digits(return_X_y=True),
    "cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "clusters": lambda: datasets.make_classification(
        n_samples=5000, n_features=40, n_informative=12, n_redundant=8, n_classes=6,
        n_clusters_per_class=3, flip_y=0.02, random_state=0,
    ),
    "quantiles": lambda: datasets.make_gaussian_quantiles(
        n_samples=5000, n_features=10, n_classes=3, random_state=0
    ),
    "hastie": lambda: datasets.make_hastie_10_2(6000, random_state=0),
    "moons": lambda: datasets.make_moons(2000, noise=0.2, random_state=0),
}  # fmt: skip
NUMBERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "diabetes": lambda: datasets.load_diabetes(return_X_y=True),
    "friedman1": lambda: datasets.make_friedman1(5000, 10, noise=1.0, random_state=0),
    "friedman2": lambda: datasets.make_friedman2(3000, noise=10.0, random_state=0),
    "friedman3": lambda: datasets.make_friedman3(3000, noise=0.1, random_state=0),
    "lower half": upper_half_of_digits,
}
SETS = {**CLASSES, **NUMBERS}

LINES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "not cut": {"preprocess": "standard"},
    "step size of batches of 500": {"step_of": 500},
    "step size 0.5": {"step": 0.5},
    "step size 2": {"step": 2.0},
    "batches twice as large": {"batch": 2.0},
    "damping 1": {"damping": 1.0},
    "rank 4": {"rank": 4},
    "weight decay 0": {"weight_decay": 0.0},
    "weight decay 0.05": {"weight_decay": 0.05},
    "cross entropy": {"loss": "cross_entropy"},
    "scikit-learn's MLP, its defaults": {"mlp": True},
}


def main() -> None:
    """Print the table."""
    parser = Parser("benchmarks/defaults.py", __doc__)
    parser.add_argument("--hidden", type=widths, default=(128, 128), metavar="D1,D2,...")
    parser.add_argument("--seeds", type=count, default=2, metavar="N", help="default: 2")
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS), metavar="SET")
    parser.add_argument("--lines", nargs="+", choices=list(LINES), default=list(LINES))
    options = parser.parse_args()
    print("| changed | " + " | ".join(options.only) + " | relative |")
    print("|---|" + "---|" * (len(options.only) + 1))
    first: list[float] = []
    for name in options.lines:
        errors = [
            float(np.mean([error(key, seed, options.hidden, **LINES[name])
                           for seed in range(options.seeds)]))
            for key in options.only
        ]  # fmt: skip
        first = first or errors
        logs = [math.log((e + 0.002) / (f + 0.002)) for e, f in zip(errors, first, strict=True)]
        cells = [f"{100 * e:.2f}" for e in errors]
        print(f"| {name} | {' | '.join(cells)} | {math.exp(np.mean(logs)):.2f} |", flush=True)


def error(
    key: str,
    seed: int,
    hidden: tuple[int, ...],
    preprocess: str = "clipped",
    mlp: bool = False,
    **change: Any,
) -> float:
    """Error of one run on the quarter that is held out."""
    X, y = SETS[key]()
    order = np.random.default_rng(100 + seed).permutation(len(X))
    train, test = np.split(order, [len(X) * 3 // 4])
    scale = Preprocessing.fit(X[train], preprocess)
    inputs, held_out = scale(X[train], np.float32), scale(X[test], np.float32)
    if key in CLASSES:
        classes, labels = np.unique(y, return_inverse=True)
        Y = one_hot(labels[train], len(classes))
        fit = _mlp if mlp else _mini_batch
        outputs = fit(inputs, Y, hidden, seed, **change)(held_out)
        return float(np.mean(outputs.argmax(axis=1) != labels[test]))
    mean, unit = y[train].mean(), y[train].std()
    Y = ((y[train] - mean) / unit)[:, None]
    change.pop("loss", None)
    outputs = (_mlp if mlp else _mini_batch)(inputs, Y, hidden, seed, **change)(held_out)
    return float(np.mean((mean + unit * outputs[:, 0] - y[test]) ** 2) / np.var(y[test]))


def _mini_batch(
    X: Any,
    Y: Any,
    hidden: tuple[int, ...],
    seed: int,
    step: float = 1.0,
    step_of: int | None = None,
    batch: float = 1.0,
    loss: str = "squared",
    **change: Any,
) -> Predict:
    problem = Problem((X.shape[1], *hidden, Y.shape[1]), loss=loss)
    usual = MiniBatchThreeSplitting(problem).settings(len(X))
    of = MiniBatchThreeSplitting(problem, step_of or usual.batch_size).settings(len(X))
    solver = MiniBatchThreeSplitting(
        problem, round(batch * usual.batch_size), step * of.step_size, **change
    )
    try:
        return solver.fit(X, Y, seed=seed).network.forward
    except FloatingPointError:
        return lambda Z: np.zeros((len(Z), Y.shape[1]))


def _mlp(X: Any, Y: Any, hidden: tuple[int, ...], seed: int) -> Predict:
    kind, targets = (MLPRegressor, Y[:, 0]) if Y.shape[1] == 1 else (MLPClassifier, Y.argmax(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 200 passes are its default, enough or not
        peer = kind(hidden_layer_sizes=hidden, random_state=seed).fit(X, targets)
    if kind is MLPRegressor:
        return lambda Z: peer.predict(Z)[:, None]
    return peer.predict_proba


if __name__ == "__main__":
    main()
