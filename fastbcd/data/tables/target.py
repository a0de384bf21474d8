"""The target of a table: classes, numbers, or several labels of 0 and 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.dataset import class_labels
from fastbcd.data.table import label_of, typed
from fastbcd.data.tables.column import Column
from fastbcd.data.tables.texts import FORMS, GAPS, form_of_numbers, is_gap
from fastbcd.data.tables.values import bools, categories, number_form, numbers
from fastbcd.errors import InputError

CLASSES, NUMBERS, LABELS = "classification", "regression", "multilabel"
TASKS = (CLASSES, NUMBERS, LABELS)
# So many different whole numbers are classes; and so many if each of them occurs twice.
FEW_CLASSES, MANY_CLASSES = 20, 100


def task_of(
    targets: Sequence[Column], prefer_numbers: bool = False, prefer_classes: bool = False
) -> str:
    """Infer what is to be predicted.

    Several targets are labels if all hold true and false, some of them in words or with
    `prefer_classes`; else they are numbers. One target is classes unless all its values are
    numbers, and some are not whole, more than 100 differ, or more than 20 differ of which one
    occurs only once. With `prefer_numbers` or `prefer_classes` this is not counted.
    """
    if len(targets) > 1:
        words = not _can_be(lambda column: numbers(column, number_form(column)), targets)
        return LABELS if (prefer_classes or words) and _can_be(bools, targets) else NUMBERS
    column = targets[0]
    if column.holds == "dates" or prefer_classes:
        return CLASSES
    counts = Counter(column.values.tolist())
    if column.holds == "texts":
        form = form_of_numbers([t for t in counts if not is_gap(t, GAPS)], column.comma)
        values = [FORMS[form](t) for t in counts if not is_gap(t, GAPS)] if form else []
    else:
        values = [value for value in counts if value == value]
    whole = all(value is not None and value == np.round(value) for value in values)
    if not values or not np.isfinite(np.array(values, np.float64)).all():
        return CLASSES
    if prefer_numbers or not whole or len(values) > MANY_CLASSES:
        return NUMBERS
    return NUMBERS if len(values) > FEW_CLASSES and min(counts.values()) == 1 else CLASSES


def _can_be(read: Callable[[Column], Any], columns: Sequence[Column]) -> bool:
    """Whether all columns hold what a function reads."""
    try:
        for column in columns:
            read(column)
    except InputError:
        return False
    return True


def class_target(column: Column, path: Path) -> NDArray[Any]:
    """Return labels (n,) as they stand in a file; `InputError` if one is missing."""
    texts = column.values if column.lines is not None else categories(column)
    labels = [
        label_of("" if text is None else text, _where(column, row))
        for row, text in enumerate(texts.tolist())
    ]
    where = f"column {column.name!r} of {path}"
    return class_labels(typed(labels, where), len(labels), where)


def number_targets(columns: Sequence[Column]) -> NDArray[np.float64]:
    """Return targets (n, k); `InputError` if a value is missing or no number."""
    return _without_gaps(columns, [numbers(column, number_form(column)) for column in columns])


def label_targets(columns: Sequence[Column]) -> NDArray[np.int8]:
    """Return labels (n, k) of 0 and 1; `InputError` for another value, or if one is missing."""
    if len(columns) < 2:
        raise InputError(
            f"--target names one column, {columns[0].name!r}, but several labels are asked for: "
            "--target A,B; one label is --task classification"
        )
    try:
        labels = [bools(column) for column in columns]
    except InputError as error:
        raise InputError(f"{error}; to predict numbers: --task regression") from None
    return _without_gaps(columns, labels).astype(np.int8)


def _without_gaps(
    columns: Sequence[Column], values: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the values of columns as a matrix; `InputError` if one is missing."""
    for column, own in zip(columns, values, strict=True):
        if np.isnan(own).any():
            raise InputError(
                f"{_where(column, int(np.argmax(np.isnan(own))))} is empty; leave such rows out"
            )
    return np.column_stack(values)


def _where(column: Column, row: int) -> str:
    return column.where(row).replace(": column", ": the target")
