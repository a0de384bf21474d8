"""Accuracy and log loss on real tables: ``fastbcd train TABLE --target TARGET`` and its rivals.

Each split is that of the command line, of a table whose rows are shuffled anew. Logistic regression
gets the numbers that the command line made of the columns, for the same rows. The tables lie in the
folder ``tables`` of FASTBCD_DATA.

    python benchmarks/table_defaults.py titanic:survived telco_churn:Churn adult:income

With ``--inner`` the rows of the command line's test parts are left out beforehand, and the rest is
split again: for choices of defaults. What follows ``--`` goes to ``fastbcd train``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from fastbcd import Model
from fastbcd.cli.main import main as command
from fastbcd.data import TableOptions, load
from fastbcd.data.split import split_rows
from fastbcd.models.probabilities import probabilities

# Row numbers, which rows in another order do not show.
KINDS = {"telco_churn": {"#": "ignore"}}


def measured(
    table: pandas.DataFrame, target: str, kinds: dict[str, str], more: list[str]
) -> list[float]:
    """Accuracy and log loss of the command line, and of logistic regression."""
    with tempfile.TemporaryDirectory() as folder:
        path, run = Path(folder) / "table.csv", Path(folder) / "run"
        table.to_csv(path, index=False)
        columns = [f"--column={name}:{kind}" for name, kind in kinds.items()]
        given = ["train", str(path), "--target", target, "--out", str(run), *columns, *more]
        with contextlib.redirect_stdout(io.StringIO()) as out:
            if command([*given, "--threads", "1"]):
                raise SystemExit(" ".join(given))
        print(*[line for line in out.getvalue().splitlines() if "trials" in line], file=sys.stderr)
        summary = json.loads((run / "summary.json").read_text())
        model = Model.load(run / "model.safetensors")
        data = load(path, target=target, table=TableOptions(kinds=kinds))
    rival = LogisticRegression(max_iter=2000).fit(data.X_train, data.y_train)
    return [
        summary["test_accuracy"],
        loss_of(probabilities_of(model, data.X_test), data),
        rival.score(data.X_test, data.y_test),
        loss_of(rival.predict_proba(data.X_test), data),
    ]


def probabilities_of(model: Model, X: Any) -> Any:
    """Probabilities of the classes for the numbers X (n, d) of a table's columns."""
    outputs = model.network.forward(model.preprocessing(X, np.float32), 1)
    return probabilities(model.loss_of_probabilities(), outputs.astype(np.float64))


def loss_of(p: Any, data: Any) -> float:
    """The log loss of probabilities (n, k) on the test part, none taken below 1e-6."""
    p = np.clip(p, 1e-6, 1.0)
    return float(log_loss(data.y_test, p / p.sum(axis=1, keepdims=True)))


def main() -> None:
    """Print a row of a Markdown table for each table, and the medians of accuracy."""
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="+", metavar="TABLE:TARGET")
    parser.add_argument("--splits", type=int, default=5, help="splits into 4/5 and 1/5")
    parser.add_argument("--inner", action="store_true", help="leave the reported test rows out")
    options = parser.parse_args(own)
    folder = Path(os.environ["FASTBCD_DATA"]) / "tables"
    print(
        "| table | accuracy, mean and median | of logistic regression | log loss | its "
        "| accuracy minus its, mean and standard deviation |"
    )
    print("|---|---|---|---|---|---|")
    for text in options.tables:
        name, target = text.split(":")
        whole = pandas.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)
        found = []
        for seed in range(options.splits):
            order = np.random.default_rng(seed).permutation(len(whole))
            table = whole.iloc[order] if seed else whole
            if options.inner:
                table = table.iloc[split_rows(name, table[target].to_numpy(str), 0.2)[0]]
            kinds = KINDS.get(name, {})
            found.append(measured(table, target, kinds, more))
        mean, median = np.mean(found, axis=0), np.median(found, axis=0)
        shown = [f"{mean[k]:.4f}, {median[k]:.4f}" for k in range(0, len(mean), 2)]
        losses = [f"{mean[k]:.3f}" for k in range(1, len(mean), 2)]
        ahead = [row[0] - row[2] for row in found]
        losses.append(f"{np.mean(ahead):+.4f}, {np.std(ahead):.4f}")
        print(f"| {name} | " + " | ".join([*shown, *losses]) + " |", flush=True)


if __name__ == "__main__":
    main()
