"""Mean and deviation of each column of a stream, over its last half or more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.moments import is_constant

Array = NDArray[Any]
Vector = NDArray[np.float64]

# Outliers are clipped at so many deviations from the mean,
FURTHEST = 20.0
# unless more than this share of the samples in a part lies as far out.
MANY = 0.05
# Fewer samples than these do not determine the scale of a column.
ENOUGH = 10


@dataclass(frozen=True)
class Moments:
    """Total weight of some samples, and mean and variance of each column, (d,) float64."""

    weight: float
    mean: Vector
    variance: Vector

    @classmethod
    def empty(cls, d: int) -> Moments:
        """Return the moments of no samples with d columns."""
        return cls(0.0, np.zeros(d), np.zeros(d))

    @classmethod
    def of(cls, X: Array, sample_weight: Array | None = None) -> Moments:
        """Return the moments of samples X (m, d); see `updated`."""
        return cls.empty(X.shape[1]).updated(X, sample_weight)

    def updated(
        self, X: Array, sample_weight: Array | None = None, known: Moments | None = None
    ) -> Moments:
        """Add samples X (m, d) of weights (m,), by default 1 and never negative.

        So that a few extreme values decide nothing, values are clipped to `FURTHEST` deviations of
        the moments `known` (default: these), or to the range of all but a share `MANY` of X, if
        that is wider. Columns that were constant are not clipped, and columns whose moments
        overflow stay as they were.
        """
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        added = float(weight.sum())
        if added == 0.0:
            return self
        weight = weight / added
        known = self if known is None else known
        with np.errstate(all="ignore"):
            values = known.without_extremes(np.asarray(X, np.float64))
            mean = weight @ values
            values -= mean
            both = self.combined(Moments(added, mean, weight @ (values * values)))
        finite = np.isfinite(both.mean) & np.isfinite(both.variance)
        mean = np.where(finite, both.mean, self.mean)
        return Moments(both.weight, mean, np.where(finite, both.variance, self.variance))

    def without_extremes(self, X: Array) -> Array:
        """Return a copy of X (m, d), float64, clipped as `updated` says."""
        reach = np.where(self.deviation > 0.0, FURTHEST * self.deviation, np.inf)
        low, high = self.mean - reach, self.mean + reach
        far = np.flatnonzero((np.clip(X, low, high) != X).any(axis=0))
        few = max(1, int(MANY * len(X)))
        if len(far) and len(X) > 2 * few:
            ordered = np.sort(X[:, far], axis=0)
            low[far] = np.fmin(low[far], ordered[few])
            high[far] = np.fmax(high[far], ordered[-1 - few])
        return np.clip(X, low, high)

    def combined(self, other: Moments) -> Moments:
        """Return the moments of the samples of both."""
        total = self.weight + other.weight
        share = other.weight / total if total else 0.0
        with np.errstate(all="ignore"):
            apart = other.mean - self.mean
            variance = (1.0 - share) * self.variance + share * other.variance
            variance += share * (1.0 - share) * apart * apart
        return Moments(total, self.mean + share * apart, variance)

    @property
    def deviation(self) -> Vector:
        """Standard deviations (d,); 0 for columns that are constant up to rounding."""
        deviation = np.sqrt(self.variance)
        return np.where(is_constant(self.mean, deviation), 0.0, deviation)


@dataclass(frozen=True)
class RecentMoments:
    """Moments of the last samples of a stream, at least half of all; older ones are forgotten.

    Parameters
    ----------
    weight : float
        Total weight of all samples so far.
    older, newer : Moments
        When `newer` has half of the weight, it replaces `older`.
    """

    weight: float
    older: Moments
    newer: Moments

    @classmethod
    def of(cls, moments: Moments) -> RecentMoments:
        """Begin with the `moments` of the first samples."""
        return cls(moments.weight, moments, Moments.empty(len(moments.mean)))

    @property
    def moments(self) -> Moments:
        """Moments of the older and the newer samples together."""
        return self.older.combined(self.newer)

    def updated(self, X: Array, sample_weight: Array | None = None) -> RecentMoments:
        """Add samples X (m, d) of weights (m,); see `Moments.updated`."""
        newer = self.newer.updated(X, sample_weight, known=self.moments)
        weight = self.weight + newer.weight - self.newer.weight
        if 2.0 * newer.weight >= weight:
            return RecentMoments(weight, newer, Moments.empty(X.shape[1]))
        return RecentMoments(weight, self.older, newer)

    def replaced(self, columns: NDArray[np.bool_], moments: Moments) -> RecentMoments:
        """Replace mean and variance in these `columns` (d,) by those of `moments`."""

        def changed(part: Moments) -> Moments:
            return replace(
                part,
                mean=np.where(columns, moments.mean, part.mean),
                variance=np.where(columns, moments.variance, part.variance),
            )

        return RecentMoments(self.weight, changed(self.older), changed(self.newer))
