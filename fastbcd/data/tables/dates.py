"""Columns of dates as inputs of a network."""

from __future__ import annotations

from dataclasses import dataclass

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
from fastbcd.data.tables.texts import GAPS_OF_NUMBERS as GAPS
from fastbcd.data.tables.texts import ISO, form_of_dates, is_gap
from fastbcd.data.tables.values import dates
from fastbcd.errors import InputError

# Length in days of a cycle, by the name of its inputs.
CYCLES = {"year": 365.2425, "week": 7.0, "day": 1.0}
WAVES = {"sine": np.sin, "cosine": np.cos}


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
        shift, scale = fit_scale(np.where(np.isnan(x), fill, x), column.name, settings.scaling)
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
        return [self.name, *waves, *indicator(self.name, self.marked)]

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
        return with_indicator([np.clip(scaled, -limit, limit), *waves], gaps, self.marked)

    def gaps_in(self, column: Column) -> int:
        """Count the gaps of a column."""
        return int(np.isnan(dates(column, self.form)).sum())

    def describe(self) -> str:
        """Say in which form the dates are, which cycles count, and what becomes of gaps."""
        cycles = f"days and place in {', '.join(self.cycles)}" if self.cycles else "days"
        form = "" if self.form == ISO else f"in the form {self.form}"
        return joined(form, cycles, gaps_text(self.gaps, "the median", self.marked))
