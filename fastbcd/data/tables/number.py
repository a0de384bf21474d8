"""Columns of numbers, and of true and false, as inputs of a network."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbcd.data.tables.base import (
    LIMIT,
    Encoding,
    Matrix,
    Settings,
    fit_scale,
    gaps_text,
    indicator,
    joined,
    with_indicator,
)
from fastbcd.data.tables.column import Column
from fastbcd.data.tables.values import Vector, bools, number_form, numbers
from fastbcd.errors import InputError

# Fewer rows say little about the classes in a bin, and small tables would learn them by heart.
ROWS_OF_A_BIN = 100


@dataclass(frozen=True)
class NumberEncoding(Encoding):
    """``clip((x - shift) * scale, -limit, limit)``, with `fill` for x in gaps.

    If one value has half of the rows or more, such as 0 of an income that few people have, it hides
    the differences of the others. Then ``clip((x - b_{t-1}) / (b_t - b_{t-1}), 0, 1)`` are further
    inputs for the edges b_t, the quantiles of the other values and that value.

    Parameters
    ----------
    name : str
    form : str
        Form of the texts of the file of training, a key of `FORMS`; a new file may have another.
    lenient : bool
        Whether a text that is no number is a gap, not an error.
    fill : float
        The median.
    gaps : int
        Number of gaps in the table, of which training had a part.
    marked : bool
        Whether an input of its own, 0 or 1, says where the gaps are.
    binary : bool
        Whether the column has 0 and 1 only, which are not scaled.
    shift, scale : float
    limit : float or None
    edges : list of float
        b_0 < b_1 < ...; empty without bins.
    """

    kind = "number"
    name: str
    form: str
    lenient: bool
    fill: float
    gaps: int
    marked: bool
    binary: bool
    shift: float
    scale: float
    limit: float | None
    edges: list[float]

    @classmethod
    def fit(cls, column: Column, settings: Settings, given: bool) -> NumberEncoding:
        """Learn median, mean and deviation."""
        form = number_form(column)
        x = numbers(column, form, lenient=given)
        there = x[~np.isnan(x)]
        if len(there) == 0:
            raise InputError(f"column {column.name!r} of {column.source} has no numbers")
        fill, gaps = float(np.median(there)), len(x) - len(there)
        marked, binary = gaps >= settings.min_count, bool(np.isin(there, (0.0, 1.0)).all())
        scaling = "none" if binary else settings.scaling
        shift, scale = fit_scale(np.where(np.isnan(x), fill, x), column.name, scaling)
        limit = LIMIT if scaling == "clipped" else None
        edges = [] if scaling == "none" else bin_edges(there, settings.bins)
        return cls(column.name, form, given, fill, gaps, marked, binary, shift, scale, limit, edges)

    @classmethod
    def of_stored(cls, stored: dict[str, Any]) -> dict[str, Any]:
        """Return the `stored` fields of a file, of which older ones have no bins."""
        return {"edges": [], **stored}

    def inputs(self) -> list[str]:
        """Return the name, those of the bins, and that of the input that says where gaps are."""
        bins = [f"{self.name} from {edge:g}" for edge in self.edges[:-1]]
        return [self.name, *bins, *indicator(self.name, self.marked)]

    def __call__(self, column: Column) -> Matrix:
        """Return the scaled numbers."""
        x = numbers(column, number_form(column, self.form), self.lenient)
        gaps = np.isnan(x)
        limit = np.inf if self.limit is None else self.limit
        filled = np.where(gaps, self.fill, x)
        with np.errstate(over="ignore"):
            scaled = np.clip((filled - self.shift) * self.scale, -limit, limit)
        return with_indicator([scaled, *bins_of(filled, self.edges)], gaps, self.marked)

    def gaps_in(self, column: Column) -> int:
        """Count the gaps of a column."""
        return int(np.isnan(numbers(column, self.form, self.lenient)).sum())

    def describe(self) -> str:
        """Say what becomes of gaps, how numbers are written, and how many bins there are."""
        written = "" if self.form == "1.5" else f"written as {self.form}"
        binary = "0 and 1" if self.binary else ""
        gaps = gaps_text(self.gaps, f"the median {self.fill:g}", self.marked)
        bins = f"{len(self.edges) - 1} bins beside the number" if self.edges else ""
        return joined(written, binary, gaps, bins)


def bins_of(x: Vector, edges: list[float]) -> list[Vector]:
    """Return ``clip((x - a) / (b - a), 0, 1)`` for each pair a, b of neighbouring `edges`."""
    with np.errstate(over="ignore"):
        return [np.clip((x - a) / (b - a), 0.0, 1.0) for a, b in itertools.pairwise(edges)]


def bin_edges(there: Vector, most: int) -> list[float]:
    """Return the edges of bins for numbers of which one is frequent; none for other numbers.

    A bin has `ROWS_OF_A_BIN` of the other numbers or more, and there are from two to `most` bins.
    """
    values, counts = np.unique(there, return_counts=True)
    frequent = values[counts.argmax()]
    others = there[there != frequent]
    bins = min(most, len(others) // ROWS_OF_A_BIN)
    if 2 * len(others) > len(there) or bins < 2:
        return []
    quantiles = np.quantile(others, np.linspace(0.0, 1.0, bins + 1))
    edges = np.unique(np.append(quantiles, frequent))
    with np.errstate(over="ignore", divide="ignore"):
        widths = np.diff(edges)
        usable = np.isfinite(widths).all() and np.isfinite(1.0 / widths).all()
    return [float(edge) for edge in edges] if usable and len(edges) > 2 else []


@dataclass(frozen=True)
class BoolEncoding(Encoding):
    """1 for true, yes, t, y, on and 1, and 0 for their opposites.

    Parameters
    ----------
    name : str
    lenient : bool
        Whether another text is a gap, not an error.
    fill : float
        The more frequent one of 0 and 1, which is put into gaps.
    gaps : int
    marked : bool
        As in `NumberEncoding`.
    """

    kind = "bool"
    name: str
    lenient: bool
    fill: float
    gaps: int
    marked: bool

    @classmethod
    def fit(cls, column: Column, settings: Settings, given: bool) -> BoolEncoding:
        """Find the more frequent value."""
        x = bools(column)
        there = x[~np.isnan(x)]
        if len(there) == 0:
            raise InputError(f"column {column.name!r} of {column.source} has no true or false")
        gaps = len(x) - len(there)
        marked = gaps >= settings.min_count
        return cls(column.name, True, float(there.mean() > 0.5), gaps, marked)

    def inputs(self) -> list[str]:
        """Return the name, and that of the input that says where gaps are."""
        return [self.name, *indicator(self.name, self.marked)]

    def __call__(self, column: Column) -> Matrix:
        """Return 0 and 1."""
        x = bools(column, self.lenient)
        gaps = np.isnan(x)
        return with_indicator([np.where(gaps, self.fill, x)], gaps, self.marked)

    def gaps_in(self, column: Column) -> int:
        """Count the gaps of a column."""
        return int(np.isnan(bools(column, self.lenient)).sum())

    def describe(self) -> str:
        """Say what becomes of gaps."""
        return gaps_text(self.gaps, "true" if self.fill else "false", self.marked)
