"""CSV files with a header: one column is the target, the others are numbers."""

from __future__ import annotations

import csv
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.dataset import LARGEST_LABEL, Dataset, class_labels
from fastbcd.data.split import split
from fastbcd.errors import InputError
from fastbcd.validation import check_matrix


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, fields) of each line that is not blank."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            return [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from None


def _header(path: Path, row: list[str]) -> list[str]:
    names = [name.strip() for name in row]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} occurs twice in the header")
    return names


def _number(text: str, where: str) -> float:
    """A finite number; `InputError` with its place in the file."""
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        raise InputError(f"{where} must hold numbers, got {text!r}") from None
    if not math.isfinite(number):
        raise InputError(f"{where} must hold finite numbers, got {text!r}")
    return number


def read_csv(
    path: Path, target: str | None, target_required: bool
) -> tuple[NDArray[Any], NDArray[Any] | None, list[str]]:
    """Features (n, d) in the order of the columns, labels (n,) of column `target`, feature names.

    Raises
    ------
    InputError
        Naming the line and column: no such target, text in a feature, a row of
        another length, no rows, a column name twice.
    """
    rows = _read_rows(path)
    if len(rows) < 2:
        raise InputError(f"{path} has no samples; needed: a header and one row for each sample")
    header, lines = _header(path, rows[0][1]), rows[1:]
    if target_required and target not in header:
        wanted = "--target COLUMN is needed" if target is None else f"no column {target!r}"
        raise InputError(f"{path}: {wanted}; its columns are {', '.join(header)}")
    at = header.index(target) if target in header else None
    features = [j for j in range(len(header)) if j != at]

    X, labels = np.empty((len(lines), len(features))), []
    for i, (line, fields) in enumerate(lines):
        where = f"{path}, line {line}"
        if len(fields) != len(header):
            raise InputError(f"{where}: {len(fields)} fields where the header has {len(header)}")
        for column, j in enumerate(features):
            X[i, column] = _number(fields[j], f"{where}: column {header[j]!r}")
        if at is not None:
            labels.append(fields[at].strip())
            if not labels[-1]:
                raise InputError(f"{where}: the target {target!r} is empty")
    check_matrix(X, str(path))
    names = [header[j] for j in features]
    if at is None:
        return X, None, names
    return X, class_labels(_typed(labels), len(X), f"column {target!r} of {path}"), names


def _typed(labels: list[str]) -> NDArray[Any]:
    """Labels as integers where all are whole and none is lost by it (01 and 1), else as text."""
    try:
        numbers = np.array([float(label) for label in labels])
    except ValueError:
        return np.array(labels, dtype=np.str_)
    finite = np.isfinite(numbers).all()
    if not finite or (numbers != np.round(numbers)).any():
        return numbers if finite else np.array(labels, dtype=np.str_)
    distinct = len(set(labels)) == len(np.unique(numbers))
    if distinct and np.abs(numbers).max() <= LARGEST_LABEL:
        return numbers.astype(np.int64)
    return np.array(labels, dtype=np.str_)


def load_csv(
    path: Path,
    target: str | None,
    target_required: bool,
    test_fraction: float,
    training: bool,
    held_out: bool,
) -> Dataset:
    """`path`, split into training and test rows; for prediction all rows, or those `held_out`."""
    needed = training or held_out or target_required
    X, y, names = read_csv(path, target, needed)
    if training or held_out:
        dataset = split(path.stem, X, y, test_fraction)
        dataset.feature_names = names
        return dataset
    return Dataset(path.stem, None, None, X, y, names)
