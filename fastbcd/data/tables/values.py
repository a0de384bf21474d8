"""Values of a column as numbers, categories, bools or dates; NaN or None where there is a gap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.tables.column import Column
from fastbcd.data.tables.texts import (
    DAY,
    FALSE,
    FORMS,
    GAPS,
    GAPS_OF_NUMBERS,
    TRUE,
    category,
    category_of_number,
    days,
    form_of_numbers,
    is_gap,
)
from fastbcd.errors import InputError

Vector = NDArray[np.float64]


def _mapped(column: Column, meaning: Callable[[str], float | None], what: str) -> Vector:
    """Apply `meaning` to each different text once; None is no `what`, which is an error."""
    known: dict[str | None, float | None] = {None: np.nan}
    values = column.values.tolist()
    for text in set(values) - {None}:
        known[text] = meaning(text)
    if None in known.values():
        row = next(row for row, text in enumerate(values) if known[text] is None)
        raise InputError(f"{column.where(row)} must hold {what}, got {values[row]!r}")
    return np.array([known[text] for text in values], np.float64)


def number_form(column: Column) -> str:
    """Return the form in which a column of numbers is written, a key of `FORMS`."""
    if column.holds != "texts":
        return "1.5"
    present = {text for text in column.values.tolist() if not is_gap(text, GAPS_OF_NUMBERS)}
    return form_of_numbers(present, column.comma) or ("1,5" if column.comma else "1,000.5")


def numbers(column: Column, form: str = "1.5", lenient: bool = False) -> Vector:
    """Return the numbers (n,) of a column, whose texts have this form; NaN in gaps.

    With `lenient`, what is no finite number is a gap; otherwise it is an `InputError`.
    """
    if column.holds == "dates":
        raise InputError(f"{column.where(0)} must hold numbers, got dates")
    if column.holds == "numbers":
        if lenient:
            return np.where(np.isfinite(column.values), column.values, np.nan)
        infinite = np.isinf(column.values)
        if infinite.any():
            raise InputError(f"{column.where(int(infinite.argmax()))} must hold finite numbers")
        return np.asarray(column.values, np.float64)
    other = np.nan if lenient else None

    def meaning(text: str) -> float | None:
        if is_gap(text, GAPS_OF_NUMBERS):
            return np.nan
        value = FORMS[form](text)
        return other if value is None or not np.isfinite(value) else value

    return _mapped(column, meaning, "finite numbers")


def bools(column: Column, lenient: bool = False) -> Vector:
    """Return 1 for true, yes, t, y, on and 1, 0 for their opposites, and NaN in gaps.

    With `lenient`, anything else is a gap; otherwise it is an `InputError`.
    """
    texts = Column(column.name, categories(column), column.source, column.lines)
    other = np.nan if lenient else None

    def meaning(text: str) -> float | None:
        word = text.lower()
        return 1.0 if word in TRUE else 0.0 if word in FALSE else other

    return _mapped(texts, meaning, "true and false, yes and no, or 1 and 0")


def categories(column: Column) -> NDArray[Any]:
    """Return the names (n,) of the categories of a column, None in gaps."""
    if column.holds == "texts":
        names = {
            text: None if is_gap(text, GAPS) else category(text)
            for text in set(column.values.tolist())
        }
        found = [names[text] for text in column.values.tolist()]
    elif column.holds == "numbers":
        found = [None if x != x else category_of_number(x) for x in column.values.tolist()]
    else:
        found = [None if x is None else x.isoformat() for x in column.values.tolist()]
    values = np.empty(len(found), object)
    values[:] = found
    return values


def dates(column: Column, form: str) -> Vector:
    """Return the days (n,) since 1970 of a column, whose texts have this form; NaN in gaps."""
    if column.holds == "numbers":
        if np.isnan(column.values).all():
            return np.asarray(column.values, np.float64)
        raise InputError(f"{column.where(0)} must hold dates, got numbers")
    if column.holds == "dates":
        seconds = column.values.astype("datetime64[us]").astype(np.int64) / 1e6
        return np.where(np.isnat(column.values), np.nan, seconds / DAY)

    def meaning(text: str) -> float | None:
        return np.nan if is_gap(text, GAPS_OF_NUMBERS) else days(text, form)

    return _mapped(column, meaning, f"dates in the form {form}")
