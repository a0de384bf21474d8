"""CSV files with a header: one column is the target, the others are numbers."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.dataset import Dataset, class_labels
from fastbcd.data.split import split
from fastbcd.errors import InputError
from fastbcd.validation import check_matrix


def read_csv(
    path: Path, target: str | None, target_required: bool
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Features (n, d) in the order of the columns, and labels (n,) of column `target`.

    Raises
    ------
    InputError
        Naming the line and column: no such target, text in a feature, a row of
        another length, no rows.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from None
    if len(rows) < 2:
        raise InputError(f"{path} has no samples; needed: a header and one row for each sample")
    header, lines = [name.strip() for name in rows[0]], rows[1:]
    if target_required and target not in header:
        wanted = "--target COLUMN is needed" if target is None else f"no column {target!r}"
        raise InputError(f"{path}: {wanted}; its columns are {', '.join(header)}")
    at = header.index(target) if target in header else None
    features = [j for j in range(len(header)) if j != at]

    X, labels = np.empty((len(lines), len(features))), []
    for i, line in enumerate(lines):
        if len(line) != len(header):
            raise InputError(
                f"{path}, line {i + 2}: {len(line)} fields where the header has {len(header)}"
            )
        for column, j in enumerate(features):
            try:
                X[i, column] = float(line[j])
            except ValueError:
                raise InputError(
                    f"{path}, line {i + 2}: column {header[j]!r} must hold numbers, got {line[j]!r}"
                ) from None
        if at is not None:
            labels.append(line[at].strip())
    check_matrix(X, str(path))
    if at is None:
        return X, None
    return X, class_labels(_typed(labels), len(X), f"column {target!r} of {path}")


def _typed(labels: list[str]) -> NDArray[Any]:
    """Labels as numbers where all of them are, else as text."""
    if "" in labels:
        raise InputError(f"the target is empty in line {labels.index('') + 2}")
    try:
        return np.array([float(label) for label in labels])
    except ValueError:
        return np.array(labels, dtype=np.str_)


def load_csv(
    path: Path, target: str | None, test_fraction: float, training: bool, held_out: bool
) -> Dataset:
    """`path`, split into training and test rows; for prediction all rows, or those `held_out`."""
    X, y = read_csv(path, target, target_required=training or held_out)
    if training or held_out:
        return split(path.stem, X, y, test_fraction)
    return Dataset(path.stem, None, None, X, y)
