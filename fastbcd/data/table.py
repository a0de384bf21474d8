"""CSV files with a header: one column is the target, the others hold numbers."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.csv_text import Row, lengths_of_rows, read_rows
from fastbcd.data.dataset import LARGEST_LABEL, Dataset, class_labels
from fastbcd.data.split import split
from fastbcd.data.validation import check_matrix
from fastbcd.errors import InputError
from fastbcd.support.parameters import did_you_mean

logger = logging.getLogger("fastbcd")

# No name, or pandas' name for a column without one.
UNNAMED = re.compile(r"(Unnamed: ?\d+(\.\d+)*)?")
DECIMAL_COMMA = re.compile(r"[+-]?\d[\d.]*,\d+")
WHOLE = re.compile(r"0|-?[1-9][0-9]*")
ENDINGS = re.compile(r"(\.(csv|tsv|tab)(\.(gz|bz2|xz))?|\.parquet|\.pq)$", re.IGNORECASE)
# Bytes of a file that is checked before its rows are kept, which takes ten times as much memory.
LARGE = 2**26
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-", "<na>")


@dataclass
class Table:
    """Names of columns, for each sample its line number and its fields, and the separator."""

    path: Path
    names: list[str]
    rows: list[Row]
    separator: str = ","

    def without(self, column: int) -> Table:
        """Return the table without a `column`."""
        names = self.names[:column] + self.names[column + 1 :]
        rows = [(line, row[:column] + row[column + 1 :]) for line, row in self.rows]
        return Table(self.path, names, rows, self.separator)


def read_table(path: Path, separator: str | None = None) -> Table:
    """Read the table in `path`, without empty columns caused by separators at the ends of lines.

    Raises
    ------
    InputError
        There are no samples, a row has another length, or a name occurs twice.
    """
    if path.is_file() and path.stat().st_size > LARGE:
        _check_lengths(path, separator)
    rows, separator = read_rows(path, separator)
    if len(rows) < 2:
        raise InputError(f"{path} has no samples; needed: a header and one row for each sample")
    names, lines = [name.strip() for name in rows[0][1]], rows[1:]
    while len(names) > 1 and not names[-1] and _is_empty(lines, len(names) - 1):
        names.pop()
    width = len(names)
    longer = {len(fields) > width for _, fields in lines}
    if longer == {True} and _is_empty(lines, width):
        lines = [(line, fields[:width]) for line, fields in lines]
    for line, fields in lines:
        if len(fields) != width:
            raise _other_length(path, line, len(fields), width)
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} occurs twice in the header")
    return Table(path, names, lines, separator)


def _check_lengths(path: Path, separator: str | None) -> None:
    """Find a row of another length than the header before the rows of a large file are kept.

    A header that ends in an empty name, and rows that are all longer, are left to `read_table`.
    """
    header, lines = lengths_of_rows(path, separator)
    width = len(header)
    others = [(line, length) for length, line in lines.items() if length != width]
    if others and header[-1].strip() and min(lines) <= width:
        line, length = min(others)
        raise _other_length(path, line, length, width)


def _other_length(path: Path, line: int, length: int, width: int) -> InputError:
    return InputError(f"{path}, line {line}: {length} fields where the header has {width}")


def _is_empty(lines: list[Row], column: int) -> bool:
    """Whether no row has anything in `column` or behind it."""
    return not any(any(map(str.strip, fields[column:])) for _, fields in lines)


def without_index(table: Table, target: str | None) -> Table:
    """Return the table without row numbers: leading columns without a name, except `target`."""
    while len(table.names) > 1 and UNNAMED.fullmatch(table.names[0]) and table.names[0] != target:
        name = repr(table.names[0]) if table.names[0] else "without a name"
        logger.warning(
            "%s: the first column, %s, is taken for row numbers and left out", table.path, name
        )
        table = table.without(0)
    return table


def _number(text: str, where: str) -> float:
    """Return a finite number; an `InputError` says `where` in the file there is none."""
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        raise InputError(f"{where} must hold numbers, got {text!r}{_hint(text)}") from None
    if not math.isfinite(number):
        raise InputError(f"{where} must hold finite numbers, got {text!r}{_hint(text)}")
    return number


def _hint(text: str) -> str:
    """Say why a text may fail to be a number."""
    if text.strip().lower() in MISSING:
        return ", which is a missing value: fill it in, or leave the row out"
    if DECIMAL_COMMA.fullmatch(text.strip()):
        return ": a decimal point is needed, not a comma"
    return ""


def read_csv(
    path: Path, target: str | None, target_required: bool, index: bool = False
) -> tuple[NDArray[Any], NDArray[Any] | None, list[str]]:
    """Return features (n, d), labels (n,) of the column `target` or None, and feature names.

    With `index`, columns of row numbers without a name are features, too.

    Raises
    ------
    InputError
        There is no column `target` and `target_required`, a feature is not a number, or a label is
        missing; or as for `read_table`. The message names the line and column.
    """
    table = read_table(path)
    table = table if index else without_index(table, target)
    header = table.names
    if target_required and target not in header:
        raise no_target(path, target, header)
    at = header.index(target) if target in header else None
    features = [j for j in range(len(header)) if j != at]
    if not index:
        check_named(table)
    X = features_of(table, features)
    names = [header[j] for j in features]
    if at is None:
        return X, None, names
    return X, labels_of(table, at), names


def no_target(path: Path, target: str | None, header: list[str]) -> InputError:
    """Return the error that a table has no column `target`, with the nearest name."""
    wanted = "--target COLUMN is needed"
    if target is not None:
        wanted = f"no column {target!r}{did_you_mean(target, header)}"
    return InputError(f"{path}: {wanted}; its columns are {', '.join(header)}")


def check_named(table: Table) -> None:
    """Raise an `InputError` for a column without a name."""
    for j, name in enumerate(table.names):
        if not name:
            raise InputError(
                f"{table.path}: column {j + 1} of {len(table.names)} has no name in the header"
            )


def features_of(table: Table, features: list[int]) -> NDArray[np.float64]:
    """Return the columns of these indices as numbers (n, d); `InputError` for any other text."""
    path, header = table.path, table.names
    X = np.empty((len(table.rows), len(features)))
    for i, (line, fields) in enumerate(table.rows):
        for column, j in enumerate(features):
            value = _float(fields[j])
            if value is None or not math.isfinite(value):
                value = _number(fields[j], f"{path}, line {line}: column {header[j]!r}")
            X[i, column] = value
    check_matrix(X, str(path))
    return X


def labels_of(table: Table, at: int) -> NDArray[Any]:
    """Return the column of index `at` as labels of classes (n,)."""
    path, target = table.path, table.names[at]
    labels = [
        label_of(fields[at], f"{path}, line {line}: the target {target!r}")
        for line, fields in table.rows
    ]
    where = f"column {target!r} of {path}"
    return class_labels(typed(labels, where), len(labels), where)


def label_of(text: str, where: str) -> str:
    """Return a label as it is in the file."""
    if not text.strip():
        raise InputError(f"{where} is empty")
    if "\0" in text:
        raise InputError(f"{where} has a NUL character, which no text in an array may end with")
    return text


def typed(labels: list[str], where: str) -> NDArray[Any]:
    """Return labels as integers if each is written as Python writes it, else as texts.

    So 02139, 1E5, +1 and 1.0 remain texts.
    """
    if all(WHOLE.fullmatch(label) for label in labels):
        numbers = [int(label) for label in labels]
        if max(map(abs, numbers), default=0) <= LARGEST_LABEL:
            return np.array(numbers, np.int64)
    values = [_float(label) for label in labels]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if len(finite) == len(values) and any(value != round(value) for value in finite):
        return np.array(finite)  # not classes: the check of labels reports it
    missing = [label for label in labels if label.strip().lower() in MISSING]
    if missing and len(finite) == len(values) - len(missing):
        raise InputError(
            f"{where} has the label {missing[0]!r} among numbers, which is a missing value: leave "
            "these rows out, or name their class"
        )
    return np.array(labels, np.str_)


def _float(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def load_csv(
    path: Path,
    target: str | None,
    target_required: bool,
    test_fraction: float,
    training: bool,
    held_out: bool,
    index: bool = False,
) -> Dataset:
    """Read `path` and split it; for prediction (not `training`), only if the rows `held_out` count.

    `target`, `target_required`, `test_fraction` and `index` are those of `fastbcd.data.load`.
    """
    needed = training or held_out or target_required
    X, y, names = read_csv(path, target, needed, index)
    if training or held_out:
        dataset = split(stem(path), X, y, test_fraction)
        dataset.feature_names = names
        return dataset
    return Dataset(stem(path), None, None, X, y, names)


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table, in letters of any case, compressed or not."""
    return ENDINGS.search(path.name) is not None


def is_parquet(path: Path) -> bool:
    """Whether a file's name is that of a table in the format Parquet."""
    return path.suffix.lower() in (".parquet", ".pq")


def stem(path: Path) -> str:
    """Return the name of a file without its endings: ``table`` for ``table.csv.gz``."""
    ending = r"(\.(csv|tsv|tab|gz|bz2|xz|parquet|pq))+$"
    return re.sub(ending, "", path.name, flags=re.IGNORECASE) or path.name
