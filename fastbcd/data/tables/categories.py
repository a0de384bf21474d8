"""Columns of categories as inputs of a network."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbcd.data.tables.base import Encoding, Matrix, Settings, indicator, joined
from fastbcd.data.tables.column import Column
from fastbcd.data.tables.values import categories

# Names of so many categories are shown.
SHOWN = 6


@dataclass(frozen=True)
class CategoryEncoding(Encoding):
    """An input, 0 or 1, for each of `levels`, for all rare categories together, and for gaps.

    A category that training did not have counts as a rare one. If training had too few rows for an
    input of rare categories or of gaps, all inputs are 0.

    Parameters
    ----------
    name : str
    levels : list of str
        Frequent categories, sorted.
    rare : int
        Number of the other categories in training.
    rare_input : bool
        Whether they have an input.
    gaps : int
    gap_input : bool
        Whether gaps have an input.
    """

    kind = "category"
    name: str
    levels: list[str]
    rare: int
    rare_input: bool
    gaps: int
    gap_input: bool

    @classmethod
    def fit(cls, column: Column, settings: Settings, given: bool) -> CategoryEncoding:
        """Count the categories."""
        counts = Counter(categories(column).tolist())
        gaps = counts.pop(None, 0)
        by_count = sorted(counts, key=lambda name: (-counts[name], name))
        levels = [name for name in by_count if counts[name] >= settings.min_count]
        levels = sorted(levels[: settings.max_categories])
        rare = set(by_count) - set(levels)
        rows = sum(counts[name] for name in rare)
        return cls(
            column.name,
            levels,
            len(rare),
            rows >= settings.min_count,
            gaps,
            gaps >= settings.min_count,
        )

    def inputs(self) -> list[str]:
        """Return a name for each frequent category, for rare ones and for gaps."""
        names = [f"{self.name} = {level}" for level in self.levels]
        names += [f"{self.name} rare"] if self.rare_input else []
        return names + indicator(self.name, self.gap_input)

    def __call__(self, column: Column) -> Matrix:
        """Return 0 and 1."""
        k, nothing = len(self.levels), len(self.inputs())
        place: dict[Any, int] = {level: j for j, level in enumerate(self.levels)}
        rare = k if self.rare_input else nothing
        place[None] = k + self.rare_input if self.gap_input else nothing
        found = [place.get(name, rare) for name in categories(column).tolist()]
        # The last column stands for no input at all.
        return np.eye(nothing + 1)[found, :nothing]

    def gaps_in(self, column: Column) -> int:
        """Count the gaps of a column."""
        return sum(name is None for name in categories(column).tolist())

    def describe(self) -> str:
        """Name the first few categories, and say what becomes of rare ones and of gaps."""
        more = len(self.levels) - SHOWN
        shown = ", ".join(self.levels[: SHOWN if more > 1 else None])
        tail = f" and {more} more" if more > 1 else ""
        together = "together one input" if self.rare_input else "no input"
        rare = f"{self.rare} rare: {together}" if self.rare else ""
        own = "a category of their own" if self.gap_input else "no category"
        gaps = f"{self.gaps} gap{'s' if self.gaps > 1 else ''}: {own}" if self.gaps else ""
        return joined(shown + tail, rare, gaps)
