"""A description in words: which inputs of the network each column of a table becomes."""

from __future__ import annotations

from typing import Any

from fastbcd.data.dataset import Dataset
from fastbcd.data.tables.encoding import TableEncoding
from fastbcd.data.tables.encodings import ENCODINGS
from fastbcd.data.tables.target import CLASSES, LABELS

# A line of the table is cut here.
WIDTH = 120
# Names of so many classes are shown.
SHOWN = 6


def column_lines(encoding: TableEncoding) -> list[str]:
    """Return a line for each column: name, kind, and what becomes of it."""
    name_width = max(len(_short(each.name)) for each in encoding.encodings)
    kind_width = max(len(kind) for kind in ENCODINGS)
    lines = []
    for each in encoding.encodings:
        line = f"  {_short(each.name):{name_width}}  {each.kind:{kind_width}}  {each.describe()}"
        line = " ".join(line.splitlines()).rstrip()
        lines.append(line if len(line) <= WIDTH else line[: WIDTH - 3] + "...")
    return lines


def _short(name: str) -> str:
    return name if len(name) <= 30 else name[:27] + "..."


def describe(dataset: Dataset, classes: Any) -> str:
    """Describe the columns of a table that was read, and what is to be predicted.

    Parameters
    ----------
    dataset : Dataset
    classes : (k,) array or None
        Labels, if the task is classification.
    """
    rows = dataset.n_train + dataset.n_test
    d, target = len(dataset.feature_names or ()), ", ".join(dataset.targets)
    if dataset.task == CLASSES:
        labels = [str(label) for label in classes.tolist()]
        more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
        what = f"{len(labels)} classes: {', '.join(labels[:SHOWN])}{more}"
    elif dataset.task == LABELS:
        what = f"{len(dataset.targets)} labels, of which a row has any number"
    else:
        what = "numbers" if len(dataset.targets) > 1 else "a number"
    head = f"{dataset.name}: {rows} rows; predicts {target}, {what}"
    if dataset.encoding is None:
        return f"{head}; from {d} column{'s' if d > 1 else ''} of numbers without gaps"
    tail = f"{d} inputs; to change a kind: --column NAME:KIND, KIND one of {', '.join(ENCODINGS)}"
    return "\n".join([head, *column_lines(dataset.encoding), tail])
