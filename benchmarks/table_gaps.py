"""What closes the distance to gradient boosting: widths, damping, passes, bins, ensembles.

    python benchmarks/table_gaps.py FOLDER --tables phoneme satimage adult [--splits 3]

Nothing sees a test row of `benchmarks/tables.py` of the same seed: its training rows are split
again into four fifths and a fifth, on which accuracy and log loss are measured; means over splits.
"bins" replaces a number x by B numbers, ``clip((x - b_{t-1}) / (b_t - b_{t-1}), 0, 1)`` for the
quantiles b_t of the training rows, so that the first layer can make a step at each of them.
"spikes" adds bins to a number of which one value has half of the rows or more, such as 0, as
`TableEncoder` does.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from tables import TEST, read, usual_pipeline
from threadpoolctl import threadpool_limits

from fastbcd import BCDClassifier
from fastbcd.data.tables.number import bin_edges
from fastbcd.data.tables.number import bins_of as shares_of

SPIKES = -16
# Name -> number of bins (0: none; negative: of columns with spikes), number of networks, and
# parameters of each.
TRIED: dict[str, tuple[int, int, dict[str, Any]]] = {
    "default": (0, 1, {}),
    "width 512": (0, 1, {"hidden_layer_sizes": (512, 512)}),
    "three layers": (0, 1, {"hidden_layer_sizes": (128, 128, 128)}),
    "damping 0.2": (0, 1, {"damping": 0.2, "batch_size": 96}),
    "damping 0.2, 4800 batches": (0, 1, {"damping": 0.2, "batch_size": 96, "max_iter": 4800}),
    "damping 1, 4800 batches": (0, 1, {"damping": 1.0, "batch_size": 96, "max_iter": 4800}),
    "batches of 32": (0, 1, {"damping": 1.0, "batch_size": 32, "max_iter": 3600}),
    "5 networks": (0, 5, {}),
    "8 bins": (8, 1, {}),
    "32 bins": (32, 1, {}),
    "32 bins, 5 networks": (32, 5, {}),
    "spikes": (SPIKES, 1, {}),
}


def bins_of(Z: Any, count: int) -> Callable[[Any], Any]:
    """The function that replaces each column that has more than two values by its bins."""
    quantiles = [np.unique(np.quantile(z, np.linspace(0.0, 1.0, count + 1))) for z in Z.T]

    def binned(A: Any) -> Any:
        parts = []
        for a, b in zip(A.T, quantiles, strict=True):
            few = len(b) < 3
            parts.append(a[:, None] if few else np.clip((a[:, None] - b[:-1]) / np.diff(b), 0, 1))
        return np.hstack(parts)

    return binned


def spikes_of(Z: Any, count: int) -> Callable[[Any], Any]:
    """The function that adds bins of the rarer values of each column with a spike."""
    edges = [bin_edges(z, count) for z in Z.T]

    def added(A: Any) -> Any:
        bins = [share for a, own in zip(A.T, edges, strict=True) for share in shares_of(a, own)]
        return np.column_stack([A, *bins])

    return added


def probabilities(name: str, Z: Any, y: Any, Z_test: Any, seed: int) -> tuple[Any, Any]:
    """Probabilities of the classes on the test rows, and the classes."""
    if name == "gradient boosting":
        model = HistGradientBoostingClassifier(random_state=seed).fit(Z, y)
        return model.predict_proba(Z_test), model.classes_
    bins, networks, given = TRIED[name]
    if bins:
        binned = bins_of(Z, bins) if bins > 0 else spikes_of(Z, -bins)
        Z, Z_test = binned(Z), binned(Z_test)
    if "max_iter" in given:  # of batches
        passes = max(1, round(given["max_iter"] * given["batch_size"] / len(Z)))
        given = given | {"max_iter": passes}
    models = [BCDClassifier(random_state=seed + k, **given).fit(Z, y) for k in range(networks)]
    return np.mean([model.predict_proba(Z_test) for model in models], axis=0), models[0].classes_


def main() -> None:
    """Print a row for each variant, with accuracy and log loss for each table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--tables", nargs="+", required=True, metavar="NAME")
    names = ["gradient boosting", *TRIED]
    parser.add_argument("--variants", nargs="+", choices=names, default=names)
    parser.add_argument("--splits", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| | " + " | ".join(options.tables) + " |\n|---|" + "---|" * len(options.tables))
    read_tables = {name: read(options.folder / f"{name}.csv") for name in options.tables}
    with threadpool_limits(1):
        for name in options.variants:
            cells = []
            for table, y in read_tables.values():
                found = [measured(name, table, y, seed) for seed in range(options.splits)]
                accuracy, loss = np.mean(found, axis=0)
                cells.append(f"{100 * accuracy:.1f}, {loss:.3f}")
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def measured(name: str, table: Any, y: Any, seed: int) -> tuple[float, float]:
    """Accuracy and log loss of a variant on the inner split of this seed."""
    rows = np.arange(len(y))
    outer, _ = train_test_split(rows, test_size=TEST, stratify=y, random_state=seed)
    train, test = train_test_split(outer, test_size=0.2, stratify=y[outer], random_state=seed)
    encode = usual_pipeline().fit(table.iloc[train])
    Z, Z_test = encode.transform(table.iloc[train]), encode.transform(table.iloc[test])
    p, classes = probabilities(name, Z, y[train], Z_test, seed)
    return float(np.mean(classes[p.argmax(axis=1)] == y[test])), log_loss(
        y[test], p, labels=classes
    )


if __name__ == "__main__":
    main()
