"""Scaling of inputs, fitted to the training set and stored with the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.blocks import blocks, release, rows_of_block
from fastbcd.data.moments import is_constant, largest_magnitude, moments, of_channels
from fastbcd.devices.ranks import SINGLE_PROCESS, Ranks
from fastbcd.errors import InputError
from fastbcd.support.floating_point import own_errstate_in
from fastbcd.support.parameters import choice

PREPROCESSINGS = ("auto", "none", "unit", "standard", "clipped")
# "clipped" clips at so many deviations from the mean.
LIMIT = 5.0


@own_errstate_in
@dataclass(frozen=True)
class Preprocessing:
    """``X -> (X - shift) * scale``, clipped to [-limit, limit].

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
        channels: int | None = None,
    ) -> Preprocessing:
        """Choose shift and scale for training inputs X (n, d); `InputError` for an unknown `kind`.

        With `ranks`, X has the samples of this rank, n may be 0, and all ranks get the shift and
        scale of all samples. One block of X at a time is in memory.

        ``"none"`` leaves inputs as they are. ``"unit"`` divides all by the largest magnitude, so
        that images stay images. ``"standard"`` gives each feature mean 0 and variance 1 (a constant
        feature becomes 0). ``"clipped"`` also clips at 5 deviations from the mean, so that a few
        extreme values do not decide what is learned. ``"auto"`` is unit for unsigned integers
        (grey levels), else clipped. Mean and variance are weighted by `sample_weight` (n,).

        With `channels`, inputs are images with the channels last, and all pixels of a channel have
        the same mean and variance, so that a convolution sees the same picture everywhere.
        """
        kind = choice(kind, PREPROCESSINGS, "preprocess")
        if kind == "auto":
            kind = "unit" if X.dtype.kind == "u" else "clipped"
        if kind == "none":
            return cls(np.zeros(1), np.ones(1))
        if kind == "unit":
            largest = np.array([largest_magnitude(X)])
            ranks.max(largest)
            # The reciprocal of a subnormal number would be infinite.
            divisor = np.maximum(largest, np.finfo(np.float64).tiny)
            return cls(np.zeros(1), 1.0 / np.where(largest > 0, divisor, 1.0))
        with np.errstate(all="ignore"):
            shift, deviation = moments(X, sample_weight, ranks)
        if not np.isfinite(deviation).all():
            column = int(np.argmin(np.isfinite(deviation)))
            raise InputError(f"preprocess: the numbers of feature {column} are too large to scale")
        if channels is not None:
            shift, deviation = of_channels(shift, deviation, channels)
        constant = is_constant(shift, deviation)
        scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation))
        return cls(shift, scale, LIMIT if kind == "clipped" else np.inf)

    def keeping(self, columns: NDArray[np.bool_]) -> Preprocessing:
        """Return this scaling without a change of these `columns` (d,), if they vary."""
        kept = columns & (self.scale != 0.0)
        return replace(
            self, shift=np.where(kept, 0.0, self.shift), scale=np.where(kept, 1.0, self.scale)
        )

    def __call__(
        self, X: NDArray[Any], dtype: Any, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return X (n, d) scaled, in `dtype`; write to `out`, of this shape and type, if given."""
        if out is None:
            out = np.empty(X.shape, dtype)
        elif out.shape != X.shape or out.dtype != dtype:
            raise InputError(
                f"out must be {X.shape} of {np.dtype(dtype)}, got {out.shape} of {out.dtype}"
            )
        # Subtract in float64, because a large shift in float32 would cost digits. Work in blocks,
        # to have no float64 copy of all of X.
        with np.errstate(over="ignore"):  # infinity is clipped, or reported by the check of X
            for rows in blocks(X, rows_of_block(X.shape[1])):
                scaled = (X[rows].astype(np.float64) - self.shift) * self.scale
                out[rows] = np.clip(scaled, -self.limit, self.limit)
                release(out[rows])
        return out
