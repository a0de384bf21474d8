"""`BCDClassifier` beside scikit-learn's `MLPClassifier`, both with all their defaults.

    python benchmarks/estimators.py            # the table of docs/estimators.md
    python benchmarks/estimators.py --choose   # how the defaults were chosen

The table: 5-fold accuracy on five sets that scikit-learn ships or makes, and the seconds that the
five fits took. The second peer has its inputs standardised, which ours does by itself.

With ``--choose`` candidates for the defaults, on other splits of the sets that are shipped and on
other sets of those that are made: mean error over sets in per cent, log loss, and seconds.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from arguments import Parser, count

from fastbcd import BCDClassifier

Data = tuple[Any, Any]


def sets_for(seed: int) -> dict[str, Callable[[], Data]]:
    """Five sets of classes; `seed` makes those that are made."""
    return {
        "digits": lambda: datasets.load_digits(return_X_y=True),
        "wine": lambda: datasets.load_wine(return_X_y=True),
        "breast cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
        "make_classification": lambda: datasets.make_classification(
            n_samples=2000,
            n_features=20,
            n_informative=10,
            n_classes=4,
            n_clusters_per_class=2,
            random_state=seed,
        ),
        "make_gaussian_quantiles": lambda: datasets.make_gaussian_quantiles(
            n_samples=2000, n_features=8, n_classes=3, random_state=seed
        ),
    }


METHODS: dict[str, Callable[[int], Any]] = {
    "BCDClassifier()": lambda seed: BCDClassifier(random_state=seed),
    "MLPClassifier()": lambda seed: MLPClassifier(random_state=seed),
    "MLPClassifier(), inputs standardised": lambda seed: make_pipeline(
        StandardScaler(), MLPClassifier(random_state=seed)
    ),
}
# Of the folds and the made sets: one of the table, others to choose by.
TABLE_SEED, CHOICE_SEEDS = 0, (101, 102, 103)

CANDIDATES: dict[str, dict[str, Any]] = {
    f"{hidden}, {loss}": {"hidden_layer_sizes": hidden, "loss": loss}
    for hidden in ((100,), (256,), (512,), (128, 128), (256, 256))
    for loss in ("cross_entropy", "squared")
} | {
    "(256,), cross_entropy, preprocess standard": {
        "hidden_layer_sizes": (256,), "preprocess": "standard"
    },
    "(256,), cross_entropy, tanh": {"hidden_layer_sizes": (256,), "activation": "tanh"},
    "(256,), squared, three-splitting": {
        "hidden_layer_sizes": (256,), "loss": "squared", "solver": "three-splitting"
    },
    "(256,), squared, two-splitting": {
        "hidden_layer_sizes": (256,), "loss": "squared", "solver": "two-splitting"
    },
}  # fmt: skip


def main() -> None:
    """Print one of the two tables."""
    parser = Parser("benchmarks/estimators.py", __doc__)
    parser.add_argument("--choose", action="store_true", help="candidates for the defaults")
    parser.add_argument("--seeds", type=count, default=3, metavar="N", help="of --choose, up to 3")
    parser.add_argument("--only", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # 200 passes are the peer's default, enough or not
    BCDClassifier(max_iter=1).fit(*datasets.load_wine(return_X_y=True))  # compiles
    if options.choose:
        print_candidates(options.only, CHOICE_SEEDS[: options.seeds])
    else:
        print_table()


def print_table() -> None:
    """Accuracies and seconds of the methods, set by set."""
    print("| 5-fold accuracy in %, seconds of a fit | " + " | ".join(METHODS) + " |")
    print("|---|" + "---|" * len(METHODS))
    for name, load in sets_for(TABLE_SEED).items():
        X, y = load()
        folds = StratifiedKFold(5, shuffle=True, random_state=TABLE_SEED)
        cells = []
        for make in METHODS.values():
            scores = [score(make(TABLE_SEED), X, y, *fold) for fold in folds.split(X, y)]
            accuracy, _, seconds = np.array(scores).T
            cells.append(
                f"{100 * accuracy.mean():.2f} ± {100 * accuracy.std():.2f}, {seconds.mean():.2f} s"
            )
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def print_candidates(names: list[str], seeds: tuple[int, ...]) -> None:
    """Errors of candidates for the defaults, and of the peer."""
    columns = list(sets_for(0))
    print("| error in % | " + " | ".join(columns) + " | mean | log loss | s |")
    print("|---|" + "---|" * (len(columns) + 3))
    usual = {"early_stopping": False}
    rows = {name: (lambda seed, n=name: BCDClassifier(**usual | CANDIDATES[n], random_state=seed))
            for name in names} | {name: METHODS[name] for name in list(METHODS)[1:]}  # fmt: skip
    for name, make in rows.items():
        results = np.zeros((len(columns), len(seeds), 3))
        for s, seed in enumerate(seeds):
            for i, load in enumerate(sets_for(seed).values()):
                X, y = load()
                splits = StratifiedShuffleSplit(1, test_size=0.25, random_state=seed)
                results[i, s] = score(make(seed), X, y, *next(splits.split(X, y)))
        accuracy, loss, seconds = results.mean(axis=1).T
        errors = 100 * (1 - accuracy)
        cells = [f"{e:.2f}" for e in [*errors, errors.mean()]]
        print(
            f"| {name} | {' | '.join(cells)} | {loss.mean():.3f} | {seconds.mean():.2f} |",
            flush=True,
        )


def score(estimator: Any, X: Any, y: Any, train: Any, test: Any) -> tuple[float, float, float]:
    """Accuracy and log loss on `test`, and the seconds of the fit on `train`."""
    start = time.perf_counter()
    estimator.fit(X[train], y[train])
    seconds = time.perf_counter() - start
    p = estimator.predict_proba(X[test])
    return estimator.score(X[test], y[test]), log_loss(y[test], p), seconds


if __name__ == "__main__":
    main()
