"""`BCDClassifier` and the usual rivals on real tables, all at their defaults.

    python benchmarks/tables.py FOLDER [--tables NAME ...] [--methods NAME ...] [--seeds 5]

FOLDER has CSV files with a header, the classes in the last column. Each seed splits a table anew
into three quarters and a quarter for the test. All methods get their numbers from the same
pipeline: it puts medians into gaps, standardises numbers, and makes columns of 0 and 1 from texts.
"encoder" is `BCDClassifier` after `TableEncoder` instead, which takes the data frame as it is.

One table for each measure: means over the seeds, and at the foot mean ranks over the tables, of the
methods asked for. "auc" is the area under the curve, of one class against the rest. Seconds are
those of the processor in ``fit``, in one thread; those of the pipeline are not counted. With
``--results FILE`` finished fits are kept there, one JSON line each, and not done again. All of it
takes about an hour, mostly that of MLPClassifier.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from scipy.stats import rankdata
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from arguments import Parser, count

from fastbcd import BCDClassifier
from fastbcd.data import TableEncoder

METHODS: dict[str, Callable[[int], Any]] = {
    "BCDClassifier": lambda seed: BCDClassifier(random_state=seed),
    "encoder": lambda seed: BCDClassifier(random_state=seed),
    "MLP": lambda seed: MLPClassifier(random_state=seed),
    "MLP, early stopping": lambda seed: MLPClassifier(random_state=seed, early_stopping=True),
    "gradient boosting": lambda seed: HistGradientBoostingClassifier(random_state=seed),
    "logistic regression": lambda seed: LogisticRegression(max_iter=2000),
}
# What to write after the point, and whether a larger number is better.
MEASURES = {"accuracy": (4, True), "log loss": (4, False), "auc": (4, True), "seconds": (2, False)}
TEST = 0.25


def read(path: Path) -> tuple[pandas.DataFrame, Any]:
    """The columns of a table, without row numbers, and its classes as texts."""
    table = pandas.read_csv(path, skipinitialspace=True)  # a blank field is a gap
    y = table.pop(table.columns[-1]).astype(str).to_numpy(object)
    rows = np.arange(1, len(table) + 1)
    numbered = [name for name in table if table[name].dtype.kind == "i"]
    return table.drop(columns=[name for name in numbered if (table[name] == rows).all()]), y


def usual_pipeline() -> Any:
    """What fills gaps, scales numbers, and makes columns of 0 and 1 from texts."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=5, sparse_output=False
    )
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (texts, make_column_selector(dtype_exclude="number")),
    )


def measured(name: str, table: pandas.DataFrame, y: Any, seed: int) -> dict[str, float]:
    """The measures of a method on the split of this seed."""
    rows = np.arange(len(y))
    train, test = train_test_split(rows, test_size=TEST, stratify=y, random_state=seed)
    encode = TableEncoder() if name == "encoder" else usual_pipeline()
    Z, Z_test = encode.fit_transform(table.iloc[train]), encode.transform(table.iloc[test])
    model = METHODS[name](seed)
    start = time.process_time()
    model.fit(Z, y[train])
    seconds = time.process_time() - start
    p = model.predict_proba(Z_test)
    two = p.shape[1] == 2
    return {
        "accuracy": float(np.mean(model.predict(Z_test) == y[test])),
        "log loss": log_loss(y[test], p, labels=model.classes_),
        "auc": roc_auc_score(y[test], p[:, 1] if two else p, multi_class="ovr"),
        "seconds": seconds,
    }


def kept_rows(path: Path | None) -> dict[tuple[str, str, int], dict[str, float]]:
    """Finished fits of the file of results, by table, method and seed."""
    if path is None or not path.exists():
        return {}
    rows = map(json.loads, path.read_text().splitlines())
    return {(row["table"], row["method"], row["seed"]): row for row in rows}


def print_measure(measure: str, found: dict[str, dict[str, list[dict[str, float]]]]) -> None:
    """One table of means over seeds, found[table][method], with the mean ranks at its foot."""
    digits, larger = MEASURES[measure]
    methods = list(next(iter(found.values())))
    means = np.array(
        [[np.mean([row[measure] for row in of[m]]) for m in methods] for of in found.values()]
    )
    print(f"\n| {measure} | " + " | ".join(methods) + " |")
    print("|---|" + "---|" * len(methods))
    for name, row in zip(found, means, strict=True):
        print(f"| {name} | " + " | ".join(f"{value:.{digits}f}" for value in row) + " |")
    ranks = rankdata(-means if larger else means, axis=1).mean(axis=0)
    print("| mean rank | " + " | ".join(f"{rank:.1f}" for rank in ranks) + " |", flush=True)


def main() -> None:
    """Fit what was asked for, and print the tables."""
    parser = Parser("benchmarks/tables.py", __doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--tables", nargs="+", metavar="NAME", help="default: all of FOLDER")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=count, default=5, metavar="N")
    parser.add_argument("--results", type=Path, metavar="FILE", help="keep finished fits here")
    options = parser.parse_args()
    there = sorted(path.stem for path in options.folder.glob("*.csv"))
    names = options.tables or there
    for name in names:
        if name not in there:
            parser.error(f"--tables: {options.folder} has no {name}.csv, but {', '.join(there)}")
    if not names:
        parser.error(f"{options.folder} has no CSV files")
    warnings.simplefilter("ignore")  # 200 passes are MLPClassifier's default, enough or not
    BCDClassifier(max_iter=1).fit(np.eye(8), np.arange(8) % 2)  # compiles
    kept, found = kept_rows(options.results), {}
    with threadpool_limits(1):
        for name in names:
            table, y = read(options.folder / f"{name}.csv")
            found[name] = {
                method: [
                    fitted(kept, options.results, name, method, seed, table, y)
                    for seed in range(options.seeds)
                ]
                for method in options.methods
            }
    for measure in MEASURES:
        print_measure(measure, found)


def fitted(
    kept: dict[tuple[str, str, int], dict[str, float]],
    path: Path | None,
    name: str,
    method: str,
    seed: int,
    table: pandas.DataFrame,
    y: Any,
) -> dict[str, float]:
    """The measures that are kept already, or new ones, which are added to the file."""
    if (name, method, seed) in kept:
        return kept[name, method, seed]
    row = measured(method, table, y, seed)
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps({"table": name, "method": method, "seed": seed, **row}) + "\n")
    return row


if __name__ == "__main__":
    main()
