"""Samples of an estimator, as one record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Samples:
    """Validated samples on their way to the solver.

    Parameters
    ----------
    X : (n, d) array
        Inputs, not scaled.
    codes : (n, c) array
        Targets as numbers: an index of the class, or what a regressor predicts.
    weight : (n,) float64 array or None
        None if each sample counts once.
    """

    X: Array
    codes: Array
    weight: Array | None

    def __len__(self) -> int:
        return len(self.X)

    def take(self, rows: Any) -> Samples:
        """Return the samples in these `rows`, a slice, mask or array of indices."""
        weight = None if self.weight is None else self.weight[rows]
        return Samples(self.X[rows], self.codes[rows], weight)
