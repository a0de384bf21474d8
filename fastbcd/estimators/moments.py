"""Mean and deviation of each column of all samples that a stream has brought so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Vector = NDArray[np.float64]

# A single number counts as being so many deviations from the mean, at most.
FURTHEST = 20.0


@dataclass(frozen=True)
class Seen:
    """Weight of the samples so far, and of each column mean and variance, (d,) float64."""

    weight: float
    mean: Vector
    variance: Vector

    @classmethod
    def nothing(cls, d: int) -> Seen:
        """Of no sample with d columns."""
        return cls(0.0, np.zeros(d), np.zeros(d))

    def also(self, X: Array, sample_weight: Array | None = None) -> Seen:
        """With samples X (m, d), whose weights (m,) are not negative, and by default 1.

        A few extreme values decide nothing: each is taken to lie within `FURTHEST` deviations,
        unless its column was constant so far. Where numbers overflow a column stays as it was.
        """
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        added = float(weight.sum())
        if added == 0.0:
            return self
        share, weight = added / (self.weight + added), weight / added
        deviation = self.deviation
        with np.errstate(all="ignore"):
            reach = np.where(deviation > 0.0, FURTHEST * deviation, np.inf)
            values = np.clip(np.asarray(X, np.float64), self.mean - reach, self.mean + reach)
            mean = weight @ values
            values -= mean
            apart = mean - self.mean
            variance = (1.0 - share) * self.variance + share * (weight @ (values * values))
            variance += share * (1.0 - share) * apart * apart
            mean = self.mean + share * apart
        finite = np.isfinite(mean) & np.isfinite(variance)
        return Seen(
            self.weight + added,
            np.where(finite, mean, self.mean),
            np.where(finite, variance, self.variance),
        )

    @property
    def deviation(self) -> Vector:
        """Standard deviations (d,), 0 for what is constant but for rounding."""
        deviation = np.sqrt(self.variance)
        return np.where(deviation <= 1e-12 * np.maximum(np.abs(self.mean), 1e-300), 0.0, deviation)
