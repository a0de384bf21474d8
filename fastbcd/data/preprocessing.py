"""Scaling of inputs, fitted on the training set and kept with the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.blocks import blocks, release, rows_of_block
from fastbcd.data.moments import SINGLE_PROCESS, moments
from fastbcd.devices.ranks import Ranks
from fastbcd.errors import InputError
from fastbcd.support.floating_point import own_errstate_in
from fastbcd.support.parameters import choice

PREPROCESSINGS = ("auto", "none", "unit", "standard", "clipped")
# Deviations from the mean beyond which "clipped" cuts.
LIMIT = 5.0


@own_errstate_in
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
        ranks: Ranks = SINGLE_PROCESS,
    ) -> Preprocessing:
        """Choose shift and scale for training inputs X (n, d), of a `kind`; else an `InputError`.

        With `ranks`, X are the samples of this rank, and it may have none: all get the same
        shift and scale, those of all samples. In memory is a block of X at a time.

        ``"none"``: as they are. ``"unit"``: divided by the largest magnitude of all, so
        images stay images. ``"standard"``: each feature to mean 0 and variance 1 (a constant
        feature to 0). ``"clipped"``: the same, and cut at 5 deviations from the mean, so that a
        few extreme values do not decide what is learned. ``"auto"``: unit for unsigned integers
        (grey levels), else clipped. Mean and variance count each sample `sample_weight` (n,) times.
        """
        kind = choice(kind, PREPROCESSINGS, "preprocess")
        if kind == "auto":
            kind = "unit" if X.dtype.kind == "u" else "clipped"
        if kind == "none":
            return cls(np.zeros(1), np.ones(1))
        if kind == "unit":
            largest = np.zeros(1)
            for rows in blocks(X, rows_of_block(X.shape[1])):
                part = X[rows]
                largest[0] = max(largest[0], abs(float(part.min())), abs(float(part.max())))
            ranks.max(largest)
            # Of the smallest numbers that float64 has, the reciprocal would be infinite.
            divisor = np.maximum(largest, np.finfo(np.float64).tiny)
            return cls(np.zeros(1), 1.0 / np.where(largest > 0, divisor, 1.0))
        with np.errstate(all="ignore"):
            shift, deviation = moments(X, sample_weight, ranks)
        if not np.isfinite(deviation).all():
            column = int(np.argmin(np.isfinite(deviation)))
            raise InputError(f"preprocess: the numbers of feature {column} are too large to scale")
        constant = deviation <= 1e-12 * np.maximum(np.abs(shift), 1e-300)
        scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation))
        return cls(shift, scale, LIMIT if kind == "clipped" else np.inf)

    def __call__(
        self, X: NDArray[Any], dtype: Any, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """X (n, d) scaled, in `dtype`; into `out`, where there is one, of this shape and type."""
        if out is None:
            out = np.empty(X.shape, dtype)
        elif out.shape != X.shape or out.dtype != dtype:
            raise InputError(
                f"out must be {X.shape} of {np.dtype(dtype)}, got {out.shape} of {out.dtype}"
            )
        # Shifted in float64: a large offset would swallow the digits that matter. In blocks,
        # so that no float64 copy of all of X exists.
        with np.errstate(over="ignore"):  # infinity is cut, or reported where X is checked
            for rows in blocks(X, rows_of_block(X.shape[1])):
                scaled = (X[rows].astype(np.float64) - self.shift) * self.scale
                out[rows] = np.clip(scaled, -self.limit, self.limit)
                release(out[rows])
        return out
