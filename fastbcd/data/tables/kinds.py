"""The kind of a column, inferred from its values."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.tables.column import Column
from fastbcd.data.tables.texts import (
    FORMS,
    GAPS,
    GAPS_OF_NUMBERS,
    PAIRS,
    category,
    form_of_dates,
    form_of_numbers,
    is_gap,
)
from fastbcd.errors import InputError

# A column with more different values than this, most of them numbers, is meant as numbers.
FEW = 20
# Rows of a table in which 1, 2, 3, ... can be taken for row numbers.
ENOUGH_ROWS = 10


def kind_of(column: Column, min_count: int) -> tuple[str, str]:
    """Return the kind of a column, and for a column to leave out the reason.

    Parameters
    ----------
    column : Column
    min_count : int
        Rows that a category needs.

    Raises
    ------
    InputError
        Most of many different values are numbers, but some are not.
    """
    if column.holds == "dates":
        dates = column.values[~np.isnat(column.values)]
        return _unless_constant("date", len(np.unique(dates)))
    if column.holds == "numbers":
        numbers = column.values[~np.isnan(column.values)]
        if _counts_rows(column.values):
            return "ignore", "these are row numbers"
        return _unless_constant("number", len(np.unique(numbers)))
    return _kind_of_texts(column, min_count)


def _unless_constant(kind: str, different: int) -> tuple[str, str]:
    if different == 0:
        return "ignore", "it has nothing but gaps"
    if different == 1:
        return "ignore", "it is the same in all rows"
    return kind, ""


def _kind_of_texts(column: Column, min_count: int) -> tuple[str, str]:
    counts = Counter(text for text in column.values.tolist() if not is_gap(text, GAPS))
    of_numbers = [text for text in counts if not is_gap(text, GAPS_OF_NUMBERS)]
    if not counts:
        return "ignore", "it has nothing but gaps"
    form = form_of_numbers(of_numbers, column.comma) if of_numbers else None
    if form is not None:
        values = {FORMS[form](text) for text in of_numbers}
        if len(counts) == len(column) and form == "1.5" and _counts_rows(column.values):
            return "ignore", "these are row numbers"
        return _unless_constant("number", len(values))
    names: Counter[str] = Counter()
    for text, count in counts.items():
        names[category(text)] += count
    if len(names) == 1:
        return "ignore", "it is the same in all rows"
    if {name.lower() for name in names} in PAIRS:
        return "bool", ""
    if form_of_dates(of_numbers) is not None:
        return "date", ""
    _check_not_mixed(column, counts)
    if max(names.values()) < min_count:
        more = "all different" if len(names) == len(column) else f"{len(names)} different"
        return "ignore", f"its texts are too rare to learn from, {more}"
    return "category", ""


def _counts_rows(values: NDArray[Any]) -> bool:
    """Whether values are 0, 1, 2, ... or 1, 2, 3, ... in the order of the rows."""
    numbers = values.astype(np.float64)
    rising = bool((np.diff(numbers) == 1.0).all())
    return len(values) >= ENOUGH_ROWS and numbers[0] in (0.0, 1.0) and rising


def _check_not_mixed(column: Column, counts: Counter[str]) -> None:
    """Raise an `InputError` if most of many different texts are numbers, and a few are not."""
    read = FORMS["1,5" if column.comma else "1,000.5"]
    others = {text for text in counts if read(text) is None and not is_gap(text, GAPS_OF_NUMBERS)}
    if len(counts) <= FEW or 2 * len(others) > len(counts):
        return
    row = next(row for row, text in enumerate(column.values.tolist()) if text in others)
    raise InputError(
        f"{column.where(row)} holds numbers, but here it is {column.values[row]!r}; correct it, or "
        f"say what it is: --column {column.name}:number takes such texts for gaps, --column "
        f"{column.name}:category takes all values for texts"
    )
