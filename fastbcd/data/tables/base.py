"""The base of all encodings of columns, and what they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.moments import is_constant, moments
from fastbcd.data.tables.column import Column
from fastbcd.data.tables.values import Vector
from fastbcd.errors import InputError

Matrix = NDArray[np.float64]
# Scaled numbers are cut at so many deviations from the mean.
LIMIT = 5.0
SCALINGS = ("clipped", "standard", "none")


@dataclass(frozen=True)
class Settings:
    """The settings that all columns of a table have in common.

    Parameters
    ----------
    min_count : int
        A category, or a gap, that fewer rows of training have is rare.
    max_categories : int
        A column has so many categories of its own at most, the most frequent ones.
    scaling : {"clipped", "standard", "none"}
        Scaling of numbers: to mean 0 and variance 1, cut at 5 deviations or not; or none.
    bins : int
        A column of numbers of which one has half of the rows or more has so many bins of the others
        at most, unless `scaling` is "none".
    """

    min_count: int
    max_categories: int
    scaling: str
    bins: int


class Encoding:
    """How a column becomes inputs of a network; see the subclasses."""

    kind: ClassVar[str]
    name: str

    @classmethod
    def fit(cls, column: Column, settings: Settings, given: bool) -> Encoding:
        """Learn from the rows of training; `given` says that the user named the kind."""
        raise NotImplementedError

    def inputs(self) -> list[str]:
        """Return the names of the inputs."""
        raise NotImplementedError

    def __call__(self, column: Column) -> Matrix:
        """Return the inputs (n, k) for a column."""
        raise NotImplementedError

    def gaps_in(self, column: Column) -> int:
        """Count the gaps of a column."""
        raise NotImplementedError

    def describe(self) -> str:
        """Say in a few words what becomes of the column."""
        raise NotImplementedError

    @classmethod
    def of_stored(cls, stored: dict[str, Any]) -> dict[str, Any]:
        """Return the `stored` fields, with those that older files do not have."""
        return stored

    def state_dict(self) -> dict[str, Any]:
        """Return the kind and all fields."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]


def indicator(name: str, shown: bool) -> list[str]:
    """Return the name of the input that says where gaps are, if it is `shown`."""
    return [f"{name} missing"] if shown else []


def with_indicator(inputs: Sequence[Vector], gaps: NDArray[np.bool_], shown: bool) -> Matrix:
    """Return inputs (n, k), with one that says where gaps are if it is `shown`."""
    return np.column_stack([*inputs, *([gaps.astype(np.float64)] if shown else [])])


def gaps_text(gaps: int, put_in: str, marked: bool) -> str:
    """Describe what becomes of gaps in numbers, dates or bools."""
    if not gaps:
        return ""
    tail = ", and a column that says where" if marked else ""
    return f"{gaps} gap{'s' if gaps > 1 else ''}: {put_in} put in{tail}"


def joined(*parts: str) -> str:
    """Join those parts of a description that are not empty."""
    return "; ".join(part for part in parts if part)


def fit_scale(filled: Vector, name: str, scaling: str) -> tuple[float, float]:
    """Return shift and scale of a column of numbers (n,)."""
    with np.errstate(all="ignore"):
        mean, deviation = moments(filled[:, None])
    if not np.isfinite(deviation).all():
        raise InputError(f"the numbers of column {name!r} are too large to scale")
    if scaling == "none" or is_constant(mean, deviation)[0]:
        return 0.0, 1.0
    return float(mean[0]), float(1.0 / deviation[0])
