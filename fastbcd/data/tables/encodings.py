"""One class for each kind of column: how its values become inputs of a network.

Each is fitted to the rows of training and is a record of plain values, which a model file holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.moments import is_constant, moments
from fastbcd.data.tables.column import Column
from fastbcd.data.tables.texts import GAPS_OF_NUMBERS as GAPS
from fastbcd.data.tables.texts import ISO, form_of_dates, is_gap
from fastbcd.data.tables.values import Vector, bools, categories, dates, number_form, numbers
from fastbcd.errors import InputError
from fastbcd.support.stored import check_state_dict

Matrix = NDArray[np.float64]
# Scaled numbers are cut at so many deviations from the mean.
LIMIT = 5.0
SCALINGS = ("clipped", "standard", "none")
# Names of so many categories are shown.
SHOWN = 6


@dataclass(frozen=True)
class Settings:
    """What all columns of a table have in common.

    Parameters
    ----------
    min_count : int
        A category, or a gap, that fewer rows of training have is rare.
    max_categories : int
        A column has so many categories of its own at most, the most frequent ones.
    scaling : {"clipped", "standard", "none"}
        Scaling of numbers: to mean 0 and variance 1, cut at 5 deviations or not; or none.
    """

    min_count: int
    max_categories: int
    scaling: str


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

    def state_dict(self) -> dict[str, Any]:
        """Return the kind and all fields."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def from_state_dict(cls, stored: dict[str, Any]) -> Encoding:
        """Make the encoding from what `state_dict` returned; `InputError` for anything else."""
        kind = stored.get("kind") if isinstance(stored, dict) else None
        if kind not in ENCODINGS:
            raise InputError(f"kind must be one of {', '.join(ENCODINGS)}, got {kind!r}")
        owner: Any = ENCODINGS[kind]
        names = [field.name for field in fields(owner)]
        check_state_dict(stored, dict.fromkeys(["kind", *names]), f"column of kind {kind}")
        return owner(**{name: stored[name] for name in names})


def _indicator(name: str, shown: bool) -> list[str]:
    return [f"{name} missing"] if shown else []


def _with_indicator(inputs: Sequence[Vector], gaps: NDArray[np.bool_], shown: bool) -> Matrix:
    return np.column_stack([*inputs, *([gaps.astype(np.float64)] if shown else [])])


def _gaps_text(gaps: int, put_in: str, marked: bool) -> str:
    """Describe what becomes of gaps in numbers, dates or bools."""
    if not gaps:
        return ""
    tail = ", and a column that says where" if marked else ""
    return f"{gaps} gap{'s' if gaps > 1 else ''}: {put_in} put in{tail}"


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _scale(filled: Vector, name: str, scaling: str) -> tuple[float, float]:
    """Return shift and scale of a column of numbers (n,)."""
    with np.errstate(all="ignore"):
        mean, deviation = moments(filled[:, None])
    if not np.isfinite(deviation).all():
        raise InputError(f"the numbers of column {name!r} are too large to scale")
    if scaling == "none" or is_constant(mean, deviation)[0]:
        return 0.0, 1.0
    return float(mean[0]), float(1.0 / deviation[0])


@dataclass(frozen=True)
class NumberEncoding(Encoding):
    """``clip((x - shift) * scale, -limit, limit)``, with `fill` for x in gaps.

    Parameters
    ----------
    name : str
    form : str
        Form of the texts of a file, a key of `FORMS`.
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
        shift, scale = _scale(np.where(np.isnan(x), fill, x), column.name, scaling)
        limit = LIMIT if scaling == "clipped" else None
        return cls(column.name, form, given, fill, gaps, marked, binary, shift, scale, limit)

    def inputs(self) -> list[str]:
        """Return the name, and that of the input that says where gaps are."""
        return [self.name, *_indicator(self.name, self.marked)]

    def __call__(self, column: Column) -> Matrix:
        """Return the scaled numbers."""
        x = numbers(column, self.form, self.lenient)
        gaps = np.isnan(x)
        limit = np.inf if self.limit is None else self.limit
        with np.errstate(over="ignore"):
            scaled = (np.where(gaps, self.fill, x) - self.shift) * self.scale
        return _with_indicator([np.clip(scaled, -limit, limit)], gaps, self.marked)

    def gaps_in(self, column: Column) -> int:
        """Count the gaps of a column."""
        return int(np.isnan(numbers(column, self.form, self.lenient)).sum())

    def describe(self) -> str:
        """Say what becomes of gaps, and how numbers are written."""
        written = "" if self.form == "1.5" else f"written as {self.form}"
        binary = "0 and 1" if self.binary else ""
        return _joined(
            written, binary, _gaps_text(self.gaps, f"the median {self.fill:g}", self.marked)
        )


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
        return [self.name, *_indicator(self.name, self.marked)]

    def __call__(self, column: Column) -> Matrix:
        """Return 0 and 1."""
        x = bools(column, self.lenient)
        gaps = np.isnan(x)
        return _with_indicator([np.where(gaps, self.fill, x)], gaps, self.marked)

    def gaps_in(self, column: Column) -> int:
        """Count the gaps of a column."""
        return int(np.isnan(bools(column, self.lenient)).sum())

    def describe(self) -> str:
        """Say what becomes of gaps."""
        return _gaps_text(self.gaps, "true" if self.fill else "false", self.marked)


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
        return names + _indicator(self.name, self.gap_input)

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
        return _joined(shown + tail, rare, gaps)


# Length in days of a cycle, by the name of its inputs.
CYCLES = {"year": 365.2425, "week": 7.0, "day": 1.0}


@dataclass(frozen=True)
class DateEncoding(Encoding):
    """Days since 1970, scaled like numbers, and sine and cosine of the place in each of `cycles`.

    Parameters
    ----------
    name : str
    form : str
        Form of the texts of a file: "ISO", or that of `datetime.strptime`.
    fill : float
        The median, in days. In gaps, sines and cosines are 0.
    gaps : int
    marked : bool
        As in `NumberEncoding`.
    shift, scale : float
    limit : float or None
    cycles : list of str
        Some of year, week and day: those that the dates of training show.
    """

    kind = "date"
    name: str
    form: str
    fill: float
    gaps: int
    marked: bool
    shift: float
    scale: float
    limit: float | None
    cycles: list[str]

    @classmethod
    def fit(cls, column: Column, settings: Settings, given: bool) -> DateEncoding:
        """Learn the form, the median, the scale, and the cycles."""
        form = ISO
        if column.holds == "texts":
            present = {text for text in column.values.tolist() if not is_gap(text, GAPS)}
            form = form_of_dates(present) or ISO
        x = dates(column, form)
        there = x[~np.isnan(x)]
        if len(there) == 0:
            raise InputError(f"column {column.name!r} of {column.source} has no dates")
        fill, gaps = float(np.median(there)), len(x) - len(there)
        shift, scale = _scale(np.where(np.isnan(x), fill, x), column.name, settings.scaling)
        whole = bool((there == np.floor(there)).all())
        cycles = ["year"] if np.ptp(there) > CYCLES["year"] else []
        cycles += ["week"] if len(np.unique(np.floor(there) % 7)) > 1 else []
        cycles += [] if whole else ["day"]
        limit = LIMIT if settings.scaling == "clipped" else None
        marked = gaps >= settings.min_count
        return cls(column.name, form, fill, gaps, marked, shift, scale, limit, cycles)

    def inputs(self) -> list[str]:
        """Return the names of the days, the cycles, and the input that says where gaps are."""
        waves = [f"{self.name} {wave} of {cycle}" for cycle in self.cycles for wave in WAVES]
        return [self.name, *waves, *_indicator(self.name, self.marked)]

    def __call__(self, column: Column) -> Matrix:
        """Return scaled days, sines and cosines."""
        x = dates(column, self.form)
        gaps = np.isnan(x)
        limit = np.inf if self.limit is None else self.limit
        scaled = (np.where(gaps, self.fill, x) - self.shift) * self.scale
        waves = [
            np.where(gaps, 0.0, wave(2.0 * np.pi * np.where(gaps, 0.0, x) / CYCLES[cycle]))
            for cycle in self.cycles
            for wave in WAVES.values()
        ]
        return _with_indicator([np.clip(scaled, -limit, limit), *waves], gaps, self.marked)

    def gaps_in(self, column: Column) -> int:
        """Count the gaps of a column."""
        return int(np.isnan(dates(column, self.form)).sum())

    def describe(self) -> str:
        """Say in which form the dates are, which cycles count, and what becomes of gaps."""
        cycles = f"days and place in {', '.join(self.cycles)}" if self.cycles else "days"
        form = "" if self.form == ISO else f"in the form {self.form}"
        return _joined(form, cycles, _gaps_text(self.gaps, "the median", self.marked))


WAVES = {"sine": np.sin, "cosine": np.cos}


@dataclass(frozen=True)
class IgnoredEncoding(Encoding):
    """No inputs.

    Parameters
    ----------
    name : str
    reason : str
        Why the column is left out.
    """

    kind = "ignore"
    name: str
    reason: str

    def inputs(self) -> list[str]:
        """Return no names."""
        return []

    def __call__(self, column: Column) -> Matrix:
        """Return (n, 0) numbers."""
        return np.empty((len(column), 0))

    def gaps_in(self, column: Column) -> int:
        """Count the gaps of a column."""
        return 0

    def describe(self) -> str:
        """Say why."""
        return f"left out: {self.reason}"


ENCODINGS: dict[str, type[Encoding]] = {
    owner.kind: owner
    for owner in (NumberEncoding, CategoryEncoding, BoolEncoding, DateEncoding, IgnoredEncoding)
}
"""Classes by the kind of column that users type."""
