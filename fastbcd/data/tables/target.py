"""What a table is to predict: classes or numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.dataset import class_labels
from fastbcd.data.table import label_of, typed
from fastbcd.data.tables.column import Column
from fastbcd.data.tables.texts import FORMS, GAPS, form_of_numbers, is_gap
from fastbcd.data.tables.values import categories, number_form, numbers
from fastbcd.errors import InputError

CLASSES, NUMBERS = "classification", "regression"
TASKS = (CLASSES, NUMBERS)
# So many different whole numbers are classes; and so many if each of them occurs twice.
FEW_CLASSES, MANY_CLASSES = 20, 100


def task_of(
    targets: Sequence[Column], prefer_numbers: bool = False, prefer_classes: bool = False
) -> str:
    """Infer what is to be predicted.

    Several targets are numbers. One target is classes unless all its values are numbers, and some
    are not whole, more than 100 differ, or more than 20 differ of which one occurs only once. With
    `prefer_numbers` or `prefer_classes` this is not counted.
    """
    if len(targets) > 1:
        return NUMBERS
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
    targets = []
    for column in columns:
        values = numbers(column, number_form(column))
        if np.isnan(values).any():
            raise InputError(
                f"{_where(column, int(np.argmax(np.isnan(values))))} is empty; leave such rows out"
            )
        targets.append(values)
    return np.column_stack(targets)


def _where(column: Column, row: int) -> str:
    return column.where(row).replace(": column", ": the target")
