"""Accuracy and log loss on real tables: the command line's defaults and logistic regression.

Both get the numbers of `TableEncoder`, fitted to the same rows of training. The tables lie in the
folder ``tables`` of FASTBCD_DATA.

    python benchmarks/table_defaults.py titanic:survived telco_churn:Churn adult:income
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from fastbcd import BCDClassifier
from fastbcd.cli.table_options import DAMPING, HIDDEN
from fastbcd.data import TableEncoder

# Row numbers, which training rows in any order do not show.
KINDS = {"telco_churn": {"#": "ignore"}}


def network() -> Any:
    """The network that ``fastbcd train TABLE --batch-size auto`` trains."""
    widths = tuple(map(int, HIDDEN.split(",")))
    return BCDClassifier(widths, preprocess="none", damping=DAMPING, random_state=0)


def scores(model: Any, X: Any, y: Any, train: Any, test: Any) -> tuple[float, float]:
    """Accuracy and log loss on the rows `test`."""
    model.fit(X[train], y[train])
    probabilities = np.clip(model.predict_proba(X[test]), 1e-6, 1.0)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return model.score(X[test], y[test]), log_loss(y[test], probabilities)


def main() -> None:
    """Print a row of a Markdown table for each table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", metavar="TABLE:TARGET")
    parser.add_argument("--splits", type=int, default=5, help="splits into 4/5 and 1/5")
    options = parser.parse_args()
    folder = Path(os.environ["FASTBCD_DATA"]) / "tables"
    print("| table | accuracy | of logistic regression | log loss | of logistic regression |")
    print("|---|---|---|---|---|")
    for text in options.tables:
        name, target = text.split(":")
        table = pandas.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)
        y = table.pop(target).to_numpy(str)
        found = []
        for seed in range(options.splits):
            rows = np.arange(len(y))
            train, test = train_test_split(rows, test_size=0.2, random_state=seed, stratify=y)
            encoder = TableEncoder(KINDS.get(name)).fit(table.iloc[train])
            X = encoder.transform(table)
            models = network(), LogisticRegression(max_iter=2000)
            found.append([scores(model, X, y, train, test) for model in models])
        ours, linear = np.mean(found, axis=0)
        print(f"| {name} | {ours[0]:.4f} | {linear[0]:.4f} | {ours[1]:.3f} | {linear[1]:.3f} |")


if __name__ == "__main__":
    main()
