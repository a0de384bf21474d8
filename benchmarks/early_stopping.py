"""Early stopping of `BCDClassifier` on tables: log loss, accuracy, passes, seconds.

    python benchmarks/early_stopping.py TABLES [--splits 3] [--rows 3000]

TABLES is a folder with german.csv, pima.csv, phoneme.csv, segment.csv and bank.csv. Each table is
split anew by each seed, 70 to 30 per cent, and a pipeline fills gaps, scales numbers and makes
columns of 0 and 1 from texts. All estimators have their defaults otherwise. The share that early
stopping holds out is a part of the 70 per cent. Lines are means over the splits:

- `none`: ``early_stopping=False``;
- `accuracy`: the weights of the best accuracy on held-out samples, as an earlier version did;
- `loss`: ``early_stopping=True``;
- `refit`: a new fit to all samples, with as many passes as `loss` found best;
- `auto`: the default, trials that choose damping, batch size and passes.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastbcd import BCDClassifier
from fastbcd.callbacks import EarlyStopping
from fastbcd.estimators import fitting

TARGETS = {"german": "default", "pima": "diabetic", "phoneme": "nasal", "segment": "class"}
TARGETS["bank"] = "y"


def read(path: Path, target: str, rows: int, seed: int) -> tuple[Any, Any]:
    """Columns of a table, numbers where all are, and its labels; at most so many rows."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        header, *lines = list(csv.reader(file))
    table = np.array(lines, dtype=object)
    if len(table) > rows:
        table = table[np.random.default_rng(seed).choice(len(table), rows, replace=False)]
    y = table[:, header.index(target)].astype(str)
    X = np.delete(table, header.index(target), axis=1)
    X[X == ""] = np.nan
    return X, y


def is_number(column: Any) -> bool:
    try:
        column.astype(float)
    except ValueError:
        return False
    return True


def pipeline(X: Any) -> Any:
    """What fills gaps, scales numbers, and makes columns of 0 and 1."""
    numbers = [j for j in range(X.shape[1]) if is_number(X[:, j])]
    texts = [j for j in range(X.shape[1]) if j not in numbers]
    return make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False, min_frequency=5), texts),
    )


class ByAccuracy(EarlyStopping):
    """The criterion of earlier versions, in place of the loss."""

    def __init__(self, monitor: str, *waits: Any, mode: str = "max") -> None:
        super().__init__("validation_score", *waits)


def fit_none(X: Any, y: Any, seed: int) -> BCDClassifier:
    return BCDClassifier(random_state=seed, early_stopping=False).fit(X, y)


def fit_auto(X: Any, y: Any, seed: int) -> BCDClassifier:
    return BCDClassifier(random_state=seed).fit(X, y)


def fit_loss(X: Any, y: Any, seed: int) -> BCDClassifier:
    return BCDClassifier(random_state=seed, early_stopping=True).fit(X, y)


def fit_accuracy(X: Any, y: Any, seed: int) -> BCDClassifier:
    usual, fitting.EarlyStopping = fitting.EarlyStopping, ByAccuracy
    try:
        return fit_loss(X, y, seed)
    finally:
        fitting.EarlyStopping = usual


def fit_refit(X: Any, y: Any, seed: int) -> BCDClassifier:
    best = 1 + int(np.argmin(fit_loss(X, y, seed).validation_loss_curve_))
    return BCDClassifier(random_state=seed, max_iter=best).fit(X, y)


METHODS: dict[str, Callable[..., BCDClassifier]] = {
    "none": fit_none,
    "accuracy": fit_accuracy,
    "loss": fit_loss,
    "refit": fit_refit,
    "auto": fit_auto,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path, metavar="TABLES")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--only", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    options = parser.parse_args()
    print("| table | method | log loss | accuracy in % | passes | s |")
    print("|---|---|---|---|---|---|")
    for name in options.only:
        found: dict[str, list[tuple[float, ...]]] = {method: [] for method in METHODS}
        for seed in range(options.splits):
            X, y = read(options.tables / f"{name}.csv", TARGETS[name], options.rows, seed)
            parts = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
            X_train, X_test, y_train, y_test = parts
            encode = pipeline(X).fit(X_train)
            Z, Z_test = encode.transform(X_train), encode.transform(X_test)
            for method, fit in METHODS.items():
                start = time.process_time()
                fitted = fit(Z, y_train, seed)
                seconds = time.process_time() - start
                p = fitted.predict_proba(Z_test)
                accuracy = np.mean(fitted.classes_[p.argmax(axis=1)] == y_test)
                loss = log_loss(y_test, p, labels=fitted.classes_)
                found[method].append((loss, 100 * accuracy, fitted.n_iter_, seconds))
        for method, rows in found.items():
            loss, accuracy, passes, seconds = np.mean(rows, axis=0)
            line = (name, method, f"{loss:.3f}", f"{accuracy:.1f}", f"{passes:.0f}")
            print("| " + " | ".join((*line, f"{seconds:.2f}")) + " |", flush=True)


if __name__ == "__main__":
    main()
