"""The encoding of a table: fitted to training rows, kept with the model, applied by name."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.tables.base import SCALINGS, Encoding, Settings
from fastbcd.data.tables.categories import CategoryEncoding
from fastbcd.data.tables.column import Column, Columns
from fastbcd.data.tables.encodings import ENCODINGS, IgnoredEncoding, encoding_of
from fastbcd.data.tables.kinds import kind_of
from fastbcd.errors import InputError
from fastbcd.support.parameters import choice, did_you_mean, require_integer
from fastbcd.support.stored import VERSION, check_state_dict

logger = logging.getLogger("fastbcd")

STATE_VERSION = 1
# Rows that a category needs: a share of all rows, but not below or above these numbers.
MIN_SHARE, LEAST_COUNT, MIN_COUNT = 0.01, 2, 10
MAX_CATEGORIES = 50
# Bins of the numbers beside a frequent one, in a table of so many columns at most: in a wide table
# of counts nearly all columns would have them.
BINS, FEW_COLUMNS = 16, 100


class TableEncoding:
    """Turns the columns of a table into inputs of a network, by the names of the columns.

    Parameters
    ----------
    encodings : list of Encoding
        One for each column, in the order of training.
    """

    def __init__(self, encodings: list[Encoding]) -> None:
        self.encodings = encodings

    @classmethod
    def fit(
        cls,
        columns: Columns,
        kinds: Mapping[str, str] | None = None,
        *,
        whole: Columns | None = None,
        min_count: int | None = None,
        max_categories: int = MAX_CATEGORIES,
        scaling: str = "clipped",
        bins: int = BINS,
    ) -> TableEncoding:
        """Learn from the rows of training.

        Parameters
        ----------
        columns : dict of str to Column
        kinds : mapping, optional
            Kind of the column of a name, a key of `ENCODINGS`; the others are inferred.
        whole : dict of str to Column, optional
            The same columns with more rows, from which kinds are inferred.
        min_count : int, optional
            Rows that a category needs for an input of its own; default: a hundredth of the rows,
            but from 2 to 10.
        max_categories : int
            Inputs that the categories of a column have at most.
        scaling : {"clipped", "standard", "none"}
        bins : int
            Inputs beside a number of which one value has half of the rows or more, at most; none in
            a table of more than 100 columns, and with ``scaling="none"``.

        Raises
        ------
        InputError
            There is no column of a name in `kinds`, a kind or another parameter is wrong, values do
            not fit the kind, or no column is left.
        """
        n = len(next(iter(columns.values())))
        if min_count is None:
            min_count = max(LEAST_COUNT, min(MIN_COUNT, round(MIN_SHARE * n)))
        bins = require_integer(bins, "bins", at_least=0)
        settings = Settings(
            require_integer(min_count, "min_count", at_least=1),
            require_integer(max_categories, "max_categories", at_least=1),
            choice(scaling, SCALINGS, "scaling"),
            bins if len(columns) <= FEW_COLUMNS else 0,
        )
        named = check_kinds(kinds or {}, columns)
        encodings = [
            _fitted(column, named.get(name), settings, (whole or columns)[name])
            for name, column in columns.items()
        ]
        encoding = cls(encodings)
        if not encoding.names():
            source = next(iter(columns.values())).source
            reasons = "; ".join(f"{each.name} is {each.describe()}" for each in encodings)
            raise InputError(f"{source} has no column to learn from: {reasons}")
        return encoding

    def names(self) -> list[str]:
        """Return the names of the inputs."""
        return [name for encoding in self.encodings for name in encoding.inputs()]

    def columns(self) -> list[str]:
        """Return the names of the columns that are needed."""
        return [each.name for each in self.encodings if not isinstance(each, IgnoredEncoding)]

    def __call__(self, columns: Columns) -> NDArray[np.float64]:
        """Return the inputs (n, d) for columns in any order.

        Columns that training did not have are left out, and logged.

        Raises
        ------
        InputError
            A column is missing, or a value does not fit the kind of its column.
        """
        source = next(iter(columns.values())).source
        for name in self.columns():
            if name not in columns:
                raise InputError(
                    f"{source} has no column {name!r}, which the model was trained on"
                    f"{did_you_mean(name, columns)}; it has {', '.join(map(repr, columns))}"
                )
        known = {encoding.name for encoding in self.encodings}
        more = [name for name in columns if name not in known]
        if more:
            logger.warning(
                "%s: columns that the model was not trained on are left out: %s",
                source,
                ", ".join(map(repr, more)),
            )
        used = [each for each in self.encodings if not isinstance(each, IgnoredEncoding)]
        return np.column_stack([encoding(columns[encoding.name]) for encoding in used])

    def state_dict(self) -> dict[str, Any]:
        """Return everything that `from_state_dict` needs, as plain values."""
        stored = [encoding.state_dict() for encoding in self.encodings]
        return {VERSION: STATE_VERSION, "columns": stored}

    @classmethod
    def from_state_dict(cls, stored: dict[str, Any]) -> TableEncoding:
        """Make the encoding that `state_dict` described; `InputError` for anything else."""
        check_state_dict(stored, cls([]).state_dict(), cls.__name__)
        return cls([encoding_of(each) for each in stored["columns"]])


def _fitted(column: Column, kind: str | None, settings: Settings, whole: Column) -> Encoding:
    """Fit the encoding of one column; its kind is given or inferred from `whole`."""
    given, reason = kind is not None, "as asked"
    if kind is None:
        kind, reason = kind_of(whole, settings.min_count)
    if kind == "ignore":
        return IgnoredEncoding(column.name, reason)
    fitted = ENCODINGS[kind].fit(column, settings, given)
    if isinstance(fitted, CategoryEncoding) and len(fitted.inputs()) == 0:
        return IgnoredEncoding(column.name, "its texts are too rare to learn from")
    return replace(fitted, gaps=fitted.gaps_in(whole))  # type: ignore[type-var]


def check_kinds(
    kinds: Mapping[str, str], names: Iterable[str], argument: str = "columns"
) -> dict[str, str]:
    """Return `kinds`, column to kind; `InputError` names the `argument` with an unknown one."""
    for name, kind in kinds.items():
        if name not in names:
            raise InputError(
                f"{argument}: there is no column {name!r}{did_you_mean(name, names)}; they are "
                f"{', '.join(names)}"
            )
        choice(kind, ENCODINGS, f"{argument}: the kind of {name!r}")
    return dict(kinds)
