"""Sparse text-like inputs: `BCDClassifier` beside scikit-learn's linear and neural classifiers.

    python benchmarks/sparse.py [--rows 200000] [--columns 100000] [--hidden 64] [--passes 3]
                                [--sample 4000] [--methods NAME ...]

The problem is made here. Counts of columns follow Zipf's law. Each of 20 classes has two topics,
and each topic prefers 300 columns of its own; a row mixes one topic of its class, one of another
class, and common columns, which are the larger part. So no column decides. The values are
``1 + log(count)``, and rows have length 1. A row has about 80 numbers. A tenth of the rows is the
test set.

The first table has one line for each method, each in a process of its own: accuracy on the test
set, seconds of ``fit`` in one thread, and the peak of memory during ``fit`` as a multiple of the
bytes of the CSR matrix of the training set, which is a part of it; what the process had before is
not. "beyond weights" leaves out weights, their means, momentum and the metric of `BCDClassifier`.
The second table compares training on sparse rows with that on the same rows as a dense array, for a
sample of rows, with equal settings and seeds. All of it takes about half an hour, mostly that of
MLPClassifier.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from arguments import Parser, count
from suite.measure import peak_bytes

from fastbcd import BCDClassifier

CLASSES, TOPICS, OF_TOPIC, WORDS = 20, 2, 300, 110
OWN, OTHER = 0.1, 0.06
# Rows that are made at a time.
BLOCK = 20_000


def make_rows(rows: int, columns: int, seed: int = 0) -> tuple[Any, Any]:
    """Rows X (rows, columns) and their classes y; see above."""
    rng = np.random.default_rng(seed)
    common = np.cumsum(1.0 / np.arange(1, columns + 1))
    common /= common[-1]
    topics = rng.integers(columns // 100, columns, (CLASSES, TOPICS, OF_TOPIC))
    parts, labels = [], []
    for start in range(0, rows, BLOCK):
        m = min(BLOCK, rows - start)
        y, kind = rng.integers(CLASSES, size=m), rng.random((m, WORDS))
        column = np.searchsorted(common, rng.random((m, WORDS)))
        other = (y + rng.integers(1, CLASSES, m)) % CLASSES
        for of, low, high in ((y, 0.0, OWN), (other, OWN, OWN + OTHER)):
            own = topics[of, rng.integers(TOPICS, size=m)]
            drawn = np.take_along_axis(own, rng.integers(OF_TOPIC, size=(m, WORDS)), axis=1)
            column = np.where((kind >= low) & (kind < high), drawn, column)
        starts = np.arange(0, m * WORDS + 1, WORDS)
        ones = np.ones(m * WORDS, np.float32)
        part = csr_array((ones, column.ravel().astype(np.int32), starts), shape=(m, columns))
        part.sum_duplicates()
        part.data = 1.0 + np.log(part.data)
        parts.append(normalize(part))
        labels.append(y)
    sizes = np.concatenate([np.diff(part.indptr) for part in parts])
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    data = np.concatenate([part.data for part in parts])
    indices = np.concatenate([part.indices for part in parts]).astype(np.int32)
    return csr_array((data, indices, indptr), shape=(rows, columns)), np.concatenate(labels)


METHODS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "BCDClassifier": lambda options: BCDClassifier(
        (options.hidden,), max_iter=options.passes, random_state=0, n_threads=1
    ),
    "logistic regression": lambda options: LogisticRegression(),
    "SGDClassifier": lambda options: SGDClassifier(random_state=0),
    "MLPClassifier": lambda options: MLPClassifier(
        (options.hidden,), max_iter=options.passes, random_state=0
    ),
}


def measured(method: str, options: argparse.Namespace) -> dict[str, float]:
    """Accuracy, seconds and memory of one method, in this process."""
    warnings.simplefilter("ignore")  # MLPClassifier may not converge in so few passes
    with threadpool_limits(1):
        little, labels = make_rows(1000, 400)
        METHODS[method](options).fit(little, labels)  # compiles
        X, y = make_rows(options.rows, options.columns)
        test = options.rows // 10
        X_test, y_test = X[:test], y[:test]
        X, y = X[test:], y[test:]
        size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
        before = peak_bytes()
        started = time.perf_counter()
        estimator = METHODS[method](options).fit(X, y)
        seconds = time.perf_counter() - started
        added = peak_bytes() - before
        row = {"numbers a row": X.nnz / len(y), "MiB": size / 2**20, "seconds": seconds}
        row |= {"memory": 1.0 + added / size}
        row["beyond"] = row["memory"] - kept_bytes(estimator) / size
        started = time.perf_counter()
        row["accuracy"] = estimator.score(X_test, y_test)
        return row | {"predict": time.perf_counter() - started}


def kept_bytes(estimator: Any) -> int:
    """Bytes of weights, means, momentum and metric; 0 for the methods of others."""
    if not isinstance(estimator, BCDClassifier):
        return 0
    weights = 3 * sum(W.nbytes for W in estimator.network_.W)
    rank, d = 16, estimator.n_features_in_
    # Q, the first Q, directions and the sketch
    return weights + 4 * rank * (d + 1) * estimator.network_.W[0].itemsize


def in_a_process(method: str, options: argparse.Namespace) -> dict[str, float]:
    """The result of `measured` in a new process."""
    command = [sys.executable, __file__, "--one", method]
    for name in ("rows", "columns", "hidden", "passes"):
        command += [f"--{name}", str(getattr(options, name))]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(run.stdout.splitlines()[-1]))


def compare_with_dense(options: argparse.Namespace) -> None:
    """Print accuracies of the same training on sparse and on dense rows."""
    print("| preprocess, dtype | accuracy, sparse | accuracy, dense | same predictions |")
    print("|---|---|---|---|")
    X, y = make_rows(options.sample + 2000, options.columns // 5)
    X_test, y_test, X, y = X[:2000], y[:2000], X[2000:], y[2000:]
    for preprocess, dtype in (("none", "float64"), ("none", "float32"), ("auto", "float32")):
        given = {"preprocess": preprocess, "dtype": dtype, "random_state": 0, "n_threads": 1}
        found = [
            BCDClassifier((options.hidden,), **given).fit(some, y).predict(others)
            for some, others in ((X, X_test), (X.toarray(), X_test.toarray()))
        ]
        scores = [*(np.mean(each == y_test) for each in found), np.mean(found[0] == found[1])]
        numbers = " | ".join(f"{score:.4f}" for score in scores)
        print(f"| {preprocess}, {dtype} | {numbers} |", flush=True)


def main() -> None:
    """Measure what was asked for, and print the tables."""
    parser = Parser("benchmarks/sparse.py", __doc__)
    parser.add_argument("--rows", type=count, default=200_000, metavar="N")
    parser.add_argument("--columns", type=count, default=100_000, metavar="N")
    parser.add_argument("--hidden", type=count, default=64, metavar="N")
    parser.add_argument("--passes", type=count, default=3, metavar="N")
    parser.add_argument("--sample", type=count, default=4000, metavar="N")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--one", choices=list(METHODS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one, options)))
        return
    print("| method | accuracy | seconds | memory / CSR | beyond weights | s to predict |")
    print("|---|---|---|---|---|---|", flush=True)
    for method in options.methods:
        row = in_a_process(method, options)
        values = (f"{row[name]:.2f}" for name in ("seconds", "memory", "beyond", "predict"))
        print(f"| {method} | {row['accuracy']:.4f} | " + " | ".join(values) + " |", flush=True)
    print(f"\n{row['numbers a row']:.0f} numbers a row, a CSR matrix of {row['MiB']:.0f} MiB\n")
    compare_with_dense(options)


if __name__ == "__main__":
    main()
