"""The kinds of columns, and how a model file holds what was learned of them.

Each is fitted to the rows of training and is a record of plain values.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fastbcd.data.tables.base import Encoding, Matrix
from fastbcd.data.tables.categories import CategoryEncoding
from fastbcd.data.tables.column import Column
from fastbcd.data.tables.dates import DateEncoding
from fastbcd.data.tables.number import BoolEncoding, NumberEncoding
from fastbcd.errors import InputError
from fastbcd.support.stored import check_state_dict


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


def encoding_of(stored: dict[str, Any]) -> Encoding:
    """Return the encoding whose `state_dict` is `stored`; `InputError` for anything else."""
    kind = stored.get("kind") if isinstance(stored, dict) else None
    if kind not in ENCODINGS:
        raise InputError(f"kind must be one of {', '.join(ENCODINGS)}, got {kind!r}")
    owner: Any = ENCODINGS[kind]
    stored = owner.of_stored(stored)
    names = [field.name for field in fields(owner)]
    check_state_dict(stored, dict.fromkeys(["kind", *names]), f"column of kind {kind}")
    return owner(**{name: stored[name] for name in names})
