"""Mean and deviation of each column of what a stream has brought lately: half of it, or more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Vector = NDArray[np.float64]

# A single number counts as being so many deviations from the mean, at most,
FURTHEST = 20.0
# unless this share of the samples that come with it lies as far out.
MANY = 0.05
# As few samples say little of a column's size by themselves.
ENOUGH = 10


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

    def also(self, X: Array, sample_weight: Array | None = None, known: Seen | None = None) -> Seen:
        """With samples X (m, d), whose weights (m,) are not negative, and by default 1.

        A few extreme values decide nothing: each is taken to lie within `FURTHEST` deviations of
        what is `known` (default: this), or within the range of all but `MANY` of the samples X,
        unless its column was constant so far. Where numbers overflow a column stays as it was.
        """
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        added = float(weight.sum())
        if added == 0.0:
            return self
        share, weight = added / (self.weight + added), weight / added
        known = self if known is None else known
        with np.errstate(all="ignore"):
            values = known.without_extremes(np.asarray(X, np.float64))
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

    def without_extremes(self, X: Array) -> Array:
        """X (m, d) float64, a new array in which a few far numbers are as far as `also` says."""
        reach = np.where(self.deviation > 0.0, FURTHEST * self.deviation, np.inf)
        low, high = self.mean - reach, self.mean + reach
        far = np.flatnonzero((np.clip(X, low, high) != X).any(axis=0))
        few = max(1, int(MANY * len(X)))
        if len(far) and len(X) > 2 * few:
            ordered = np.sort(X[:, far], axis=0)
            low[far] = np.fmin(low[far], ordered[few])
            high[far] = np.fmax(high[far], ordered[-1 - few])
        return np.clip(X, low, high)

    def and_those_of(self, other: Seen) -> Seen:
        """Of the samples of both."""
        total = self.weight + other.weight
        share = other.weight / total if total else 0.0
        with np.errstate(all="ignore"):
            apart = other.mean - self.mean
            variance = (1.0 - share) * self.variance + share * other.variance
            variance += share * (1.0 - share) * apart * apart
        return Seen(total, self.mean + share * apart, variance)

    @property
    def deviation(self) -> Vector:
        """Standard deviations (d,), 0 for what is constant but for rounding."""
        deviation = np.sqrt(self.variance)
        return np.where(deviation <= 1e-12 * np.maximum(np.abs(self.mean), 1e-300), 0.0, deviation)


@dataclass(frozen=True)
class Lately:
    """What the last samples were, at least half of all: what came first decides nothing for ever.

    Parameters
    ----------
    weight : float
        Of all samples so far.
    older, newer : Seen
        When `newer` has half of the weight it takes the place of `older`, which is forgotten.
    """

    weight: float
    older: Seen
    newer: Seen

    @classmethod
    def of(cls, seen: Seen) -> Lately:
        """Where nothing else has been seen."""
        return cls(seen.weight, seen, Seen.nothing(len(seen.mean)))

    @property
    def seen(self) -> Seen:
        """Of both."""
        return self.older.and_those_of(self.newer)

    def also(self, X: Array, sample_weight: Array | None = None) -> Lately:
        """With samples X (m, d) of these weights (m,); see `Seen.also`."""
        newer = self.newer.also(X, sample_weight, known=self.seen)
        weight = self.weight + newer.weight - self.newer.weight
        if 2.0 * newer.weight >= weight:
            return Lately(weight, newer, Seen.nothing(X.shape[1]))
        return Lately(weight, self.older, newer)

    def like(self, seen: Seen, columns: NDArray[np.bool_]) -> Lately:
        """As if in these `columns` (d,) all samples had been as those that were `seen`."""

        def changed(part: Seen) -> Seen:
            return replace(
                part,
                mean=np.where(columns, seen.mean, part.mean),
                variance=np.where(columns, seen.variance, part.variance),
            )

        return Lately(self.weight, changed(self.older), changed(self.newer))
