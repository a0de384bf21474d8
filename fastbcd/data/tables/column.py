"""Columns of a table, whether it was read from a file or is a data frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.inputs import names_of
from fastbcd.data.label_values import is_missing
from fastbcd.errors import InputError


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    name : str
    values : (n,) array
        Numbers (float64, NaN in gaps), dates (datetime64[us], NaT in gaps) or texts (objects, None
        in gaps). Texts of a file are as they stand there, so that a gap may also be "NA".
    source : str
        Origin of the table, for messages.
    lines : sequence of int, optional
        For each value the number of its line in the file.
    comma : bool, default=False
        Whether ``1,5`` is a number, and not ``1.5``.
    """

    name: str
    values: NDArray[Any]
    source: str = "X"
    lines: Sequence[int] | None = None
    comma: bool = False

    def __len__(self) -> int:
        return len(self.values)

    @property
    def holds(self) -> str:
        """The type of the values: "numbers", "dates" or "texts"."""
        return {"f": "numbers", "M": "dates"}.get(self.values.dtype.kind, "texts")

    def where(self, row: int) -> str:
        """Describe a value's place, for messages."""
        place = f"row {row}" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.source}, {place}: column {self.name!r}"

    def take(self, rows: Any) -> Column:
        """Return the column with these `rows`, an array of indices, only."""
        lines = None if self.lines is None else [self.lines[row] for row in rows]
        return Column(self.name, self.values[rows], self.source, lines, self.comma)


Columns = dict[str, Column]
"""The columns of a table by name, in their order."""


def columns_of(X: Any, source: str = "X") -> Columns:
    """Return the columns of a data frame (pandas, polars, pyarrow) or a 2-d array.

    The columns of an array are called x0, x1, and so on.

    Raises
    ------
    InputError
        X is no table, has no rows or columns, two columns have the same name, or a column holds
        something else than numbers, bools, texts and dates.
    """
    names = names_of(X)
    if names is None:
        return _columns_of_array(X, source)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{source} has the column {twice[0]!r} twice")
    columns = {name: Column(name, _values(X[name], name, source), source) for name in names}
    if len(columns[names[0]]) == 0:
        raise InputError(f"{source} has no rows")
    return columns


def _columns_of_array(X: Any, source: str) -> Columns:
    array = np.asarray(X)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(
            f"{source} must be a data frame whose columns have names, or a 2-d array of at least "
            f"one row and column, got {type(X).__name__} of shape {array.shape}"
        )
    names = [f"x{j}" for j in range(array.shape[1])]
    return {
        name: Column(name, _plain_values(array[:, j], name, source), source)
        for j, name in enumerate(names)
    }


def _values(series: Any, name: str, source: str) -> NDArray[Any]:
    """Return the values of a column of any data frame as `Column` holds them."""
    if hasattr(series, "combine_chunks"):  # pyarrow's column in chunks, which may share words
        if hasattr(series.type, "value_type"):
            series = series.cast(series.type.value_type)
        array = series.to_numpy()
    elif hasattr(series, "to_numpy"):
        array = np.asarray(series.to_numpy())
    else:
        array = np.asarray(series)
    return _plain_values(array, name, source)


def _plain_values(array: NDArray[Any], name: str, source: str) -> NDArray[Any]:
    """Turn an array of any type into numbers, dates or texts; see `Column`."""
    kind = array.dtype.kind
    if kind in "iuf":
        return array.astype(np.float64)
    if kind == "b":
        return np.where(array, "true", "false").astype(object)
    if kind == "M":
        return array.astype("datetime64[us]")
    values = array.astype(object)
    gaps = np.array([is_missing(value) for value in values], bool)
    present = values[~gaps]
    kinds = {_kind(value) for value in present.tolist()}
    if kinds == {"number"}:
        numbers = np.full(len(values), np.nan)
        numbers[~gaps] = present.astype(np.float64)
        return numbers
    if kinds == {"date"}:
        return _dates(values, gaps)
    if None in kinds:
        other = next(value for value in present.tolist() if _kind(value) is None)
        raise InputError(
            f"{source}: column {name!r} must hold numbers, bools, texts or dates, but has "
            f"{type(other).__name__}; leave it out"
        )
    texts = np.full(len(values), None, object)
    texts[~gaps] = [_text(value) for value in present.tolist()]
    return texts


def _kind(value: Any) -> str | None:
    if isinstance(value, bool | np.bool_ | str):
        return "text"
    if hasattr(value, "isoformat"):
        return "date" if hasattr(value, "year") else None
    # Numbers of Python, NumPy and the module decimal.
    return "number" if hasattr(value, "__float__") and np.ndim(value) == 0 else None


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return str(value)


def _dates(values: NDArray[Any], gaps: NDArray[np.bool_]) -> NDArray[Any]:
    """Turn objects of `datetime` into UTC without a zone."""
    dates = np.full(len(values), np.datetime64("NaT"), "datetime64[us]")
    for i in np.flatnonzero(~gaps):
        value = values[i]
        if getattr(value, "tzinfo", None) is not None:
            value = (value - value.utcoffset()).replace(tzinfo=None)
        dates[i] = np.datetime64(value.isoformat(), "us")
    return dates
