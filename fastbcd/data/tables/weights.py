"""The weights of samples in a column of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.tables.column import Columns
from fastbcd.data.tables.values import number_form, numbers
from fastbcd.errors import InputError
from fastbcd.support.parameters import did_you_mean


def take_weights(
    columns: Columns, name: str | None, targets: list[str], path: Path
) -> NDArray[np.float64] | None:
    """Take the column `name` out of `columns`, and return its numbers w (n,), w_i >= 0.

    Return None, and take nothing, if `name` is None.

    Raises
    ------
    InputError
        There is no such column, it is a target, or it has a gap, a text or a negative number.
    """
    if name is None:
        return None
    if name not in columns:
        known = ", ".join(columns)
        hint = did_you_mean(name, list(columns))
        raise InputError(f"--weights: {path} has no column {name!r}{hint}; its columns are {known}")
    if name in targets:
        raise InputError(f"--weights: the column {name!r} is a target; name another column")
    column = columns.pop(name)
    weight: NDArray[Any] = numbers(column, number_form(column))
    wrong = ~(np.isfinite(weight) & (weight >= 0.0))
    if wrong.any():
        row = int(np.argmax(wrong))
        found = "is empty" if np.isnan(weight[row]) else f"is {weight[row]:g}"
        raise InputError(
            f"--weights: {column.where(row)} {found}; a weight must be finite and not negative"
        )
    return weight
