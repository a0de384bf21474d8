"""Scaling of inputs, fitted on the training set and kept with the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.errors import InputError

ROWS = 4096
PREPROCESSINGS = ("auto", "none", "unit", "standard", "clipped")
# Deviations from the mean beyond which "clipped" cuts.
LIMIT = 5.0


@dataclass(frozen=True)
class Preprocessing:
    """``X -> (X - shift) * scale``, cut at -limit and limit.

    Parameters
    ----------
    shift, scale : (1,) or (d,) float64 array
    limit : float, default=infinity
    """

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    limit: float = np.inf

    @classmethod
    def fit(
        cls,
        X: NDArray[Any],
        kind: str = "auto",
        sample_weight: NDArray[np.float64] | None = None,
    ) -> Preprocessing:
        """Choose shift and scale for training inputs X (n, d), of a `kind`; else an `InputError`.

        ``"none"``: as they are. ``"unit"``: divided by the largest magnitude of all, so
        images stay images. ``"standard"``: each feature to mean 0 and variance 1 (a constant
        feature to 0). ``"clipped"``: the same, and cut at 5 deviations from the mean, so that a
        few extreme values do not decide what is learned. ``"auto"``: unit for unsigned integers
        (grey levels), else clipped. Mean and variance count each sample `sample_weight` (n,) times.
        """
        if kind not in PREPROCESSINGS:
            raise InputError(f"preprocess must be one of {', '.join(PREPROCESSINGS)}, got {kind!r}")
        if kind == "auto":
            kind = "unit" if X.dtype.kind == "u" else "clipped"
        if kind == "none":
            return cls(np.zeros(1), np.ones(1))
        if kind == "unit":
            largest = max(abs(float(X.min())), abs(float(X.max())))
            return cls(np.zeros(1), np.array([1.0 / largest if largest > 0 else 1.0]))
        with np.errstate(all="ignore"):
            if sample_weight is None:
                shift, deviation = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
            else:
                shift, deviation = weighted_moments(X, sample_weight)
        if not np.isfinite(deviation).all():
            column = int(np.argmin(np.isfinite(deviation)))
            raise InputError(f"preprocess: the numbers of feature {column} are too large to scale")
        constant = deviation <= 1e-12 * np.maximum(np.abs(shift), 1e-300)
        scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation))
        return cls(shift, scale, LIMIT if kind == "clipped" else np.inf)

    def __call__(self, X: NDArray[Any], dtype: Any) -> NDArray[Any]:
        """X scaled, in `dtype`."""
        # Shifted in float64: a large offset would swallow the digits that matter. In pieces,
        # so that no float64 copy of all of X exists.
        out = np.empty(X.shape, dtype)
        with np.errstate(over="ignore"):  # infinity is cut, or reported where X is checked
            for start in range(0, len(X), ROWS):
                rows = slice(start, start + ROWS)
                scaled = (X[rows].astype(np.float64) - self.shift) * self.scale
                out[rows] = np.clip(scaled, -self.limit, self.limit)
        return out


def weighted_moments(
    X: NDArray[Any], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (d,) of each feature of X (n, d), with weights (n,)."""
    share = weight / weight.sum()
    mean, variance = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    pieces = [slice(start, start + ROWS) for start in range(0, len(X), ROWS)]
    for rows in pieces:
        mean += share[rows] @ X[rows].astype(np.float64)
    for rows in pieces:
        variance += share[rows] @ (X[rows] - mean) ** 2
    return mean, np.sqrt(variance)
