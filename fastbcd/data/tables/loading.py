"""A data set from a table with columns of any kind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.dataset import Dataset
from fastbcd.data.split import split_rows
from fastbcd.data.table import (
    Table,
    check_named,
    features_of,
    is_parquet,
    no_target,
    read_table,
    stem,
    without_index,
)
from fastbcd.data.tables.column import Column, Columns
from fastbcd.data.tables.encoding import TableEncoding, check_kinds
from fastbcd.data.tables.options import TableOptions
from fastbcd.data.tables.parquet import read_parquet
from fastbcd.data.tables.target import (
    CLASSES,
    LABELS,
    class_target,
    label_targets,
    number_targets,
    task_of,
)
from fastbcd.data.tables.texts import is_gap
from fastbcd.data.tables.weights import take_weights
from fastbcd.errors import InputError

# The name that pandas gives to row numbers in Parquet.
INDEX = re.compile(r"__index_level_\d+__")


def load_table(
    path: Path,
    target: str | None,
    target_required: bool,
    test_fraction: float,
    training: bool,
    held_out: bool,
    index: bool,
    options: TableOptions,
) -> Dataset:
    """Read `path`; the other parameters are those of `fastbcd.data.load`.

    For training, columns become numbers by a new `TableEncoding`, which the data set keeps. If all
    columns of a CSV file are numbers without gaps, they stay as they are, and there is none. For
    prediction they become numbers by the encoding of `options`.

    Raises
    ------
    InputError
        As for `fastbcd.data.load`; or a value does not fit the kind of its column.
    """
    table, columns = _read(path, target, index, options)
    targets = _targets(path, target, list(columns), target_required or training or held_out)
    weight = take_weights(columns, options.weights, targets, path)
    features = {name: column for name, column in columns.items() if name not in targets}
    if not features:
        raise InputError(f"{path} must have at least one column besides the target")
    if not training and not held_out and all(_is_blank(columns[name]) for name in targets):
        targets = []  # there is a column for what is to be predicted
    check_kinds(options.kinds, features, "--column")
    chosen = [columns[name] for name in targets]
    task = options.task
    if task is None and targets:
        task = task_of(chosen, options.prefer_numbers, options.prefer_classes)
    y = _target_values(chosen, task, path)
    X = _plain(table, features, options, strict=not training)
    name = stem(path)
    if training or held_out:
        train, test = split_rows(name, y, test_fraction, by_class=task == CLASSES)
    else:
        train = test = np.arange(len(next(iter(columns.values()))))
    encoding = options.encoding
    if X is None and encoding is None:
        encoding = _fitted(features, train, options)
    if encoding is not None:
        X = encoding(features)
    assert X is not None
    return Dataset(
        name,
        X[train] if training else None,
        y[train] if training and y is not None else None,
        X[test],
        None if y is None else y[test],
        list(features) if encoding is None else encoding.names(),
        encoding=encoding,
        task=task,
        targets=targets,
        weight_train=weight[train] if training and weight is not None else None,
    )


def _fitted(features: Columns, train: NDArray[Any], options: TableOptions) -> TableEncoding:
    """Fit an encoding to the rows `train` of columns."""
    if options.scaling == "unit":
        raise InputError(
            "--preprocess unit is for images; a table with other columns than numbers needs auto, "
            "clipped, standard or none"
        )
    rows = {name: column.take(train) for name, column in features.items()}
    return TableEncoding.fit(rows, options.kinds, whole=features, scaling=options.scaling)


def _read(
    path: Path, target: str | None, index: bool, options: TableOptions
) -> tuple[Table | None, Columns]:
    """Return a table of texts, unless the file is Parquet, and its columns."""
    if is_parquet(path):
        return None, {
            name: column
            for name, column in read_parquet(path).items()
            if index or not INDEX.fullmatch(name)
        }
    table = read_table(path, options.separator)
    if not index:
        table = without_index(table, target)
        check_named(table)
    lines = [line for line, _ in table.rows]
    comma = (table.separator != ",") if options.decimal is None else options.decimal == ","
    columns = {}
    for j, name in enumerate(table.names):
        texts = np.empty(len(lines), object)
        texts[:] = [fields[j] for _, fields in table.rows]
        columns[name] = Column(name, texts, str(path), lines, comma)
    return table, columns


def _targets(path: Path, target: str | None, names: list[str], required: bool) -> list[str]:
    """Return the names of the targets that a text such as ``a,b`` lists."""
    if target is None or target in names:
        wanted = [] if target is None else [target]
    else:
        wanted = [part.strip() for part in target.split(",")]
    missing = [name for name in wanted if name not in names]
    if required and (missing or not wanted):
        raise no_target(path, missing[0] if missing else None, names)
    twice = [name for name in wanted if wanted.count(name) > 1]
    if twice:
        raise InputError(f"--target names the column {twice[0]!r} twice")
    return [] if missing else wanted


def _is_blank(column: Column) -> bool:
    """Whether a column has nothing but gaps."""
    if column.holds == "texts":
        return all(is_gap(text) for text in set(column.values.tolist()))
    return bool((column.values != column.values).all())


def _target_values(targets: list[Column], task: str | None, path: Path) -> NDArray[Any] | None:
    if not targets:
        return None
    if task == LABELS:
        return label_targets(targets)
    if task != CLASSES:
        return number_targets(targets)
    if len(targets) > 1:
        raise InputError(
            f"--target names {len(targets)} columns, but classification has one target; several "
            "targets are numbers, --task regression, or labels of 0 and 1, --task multilabel"
        )
    return class_target(targets[0], path)


def _plain(
    table: Table | None, features: Columns, options: TableOptions, strict: bool
) -> NDArray[np.float64] | None:
    """Return the numbers (n, d) of a table of numbers without gaps; None for any other table.

    It is also None if `options` has an encoding or kinds of columns. With `strict` and without an
    encoding, another table is an `InputError`.
    """
    if options.encoding is not None or options.kinds:
        return None
    try:
        if table is not None:
            return features_of(table, [table.names.index(name) for name in features])
        return numbers_without_gaps(features)
    except InputError:
        if strict:
            raise
        return None


def numbers_without_gaps(columns: Columns) -> NDArray[np.float64]:
    """Return columns of numbers as a matrix (n, d); `InputError` for a gap or another type."""
    for column in columns.values():
        if column.holds != "numbers" or not np.isfinite(column.values).all():
            raise InputError(
                f"{column.source}: column {column.name!r} must hold finite numbers without gaps, "
                "as in training"
            )
    return np.column_stack([column.values for column in columns.values()])
