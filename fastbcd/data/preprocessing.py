"""Scaling of inputs, fitted to the training set and stored with the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.blocks import BLOCK_SIZE, blocks, release, rows_of_block
from fastbcd.data.moments import is_constant, largest_magnitude, moments, of_channels
from fastbcd.data.sparse import column_largest
from fastbcd.devices.ranks import SINGLE_PROCESS, Ranks
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.errors import InputError
from fastbcd.support.floating_point import own_errstate_in
from fastbcd.support.parameters import choice

PREPROCESSINGS = ("auto", "none", "unit", "standard", "clipped")
# "clipped" clips at so many deviations from the mean.
LIMIT = 5.0
# Sparse columns within this factor of the usual size have the same units.
ALIKE = 32.0


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
        X: Any,
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

        Sparse X, whose zeros must stay zeros, is never shifted: for ``"auto"`` see `column_scales`,
        and kinds that shift are an `InputError`.
        """
        kind = choice(kind, PREPROCESSINGS, "preprocess")
        if isinstance(X, SparseRows):
            if kind == "auto":
                return cls(np.zeros(1), column_scales(column_largest(X)))
            if kind in ("standard", "clipped"):
                raise InputError(
                    f"preprocess: {kind!r} shifts columns, which would fill sparse inputs; use "
                    "auto, unit or none, or give X.toarray()"
                )
        if kind == "auto":
            kind = "unit" if X.dtype.kind == "u" else "clipped"
        if kind == "none":
            return cls(np.zeros(1), np.ones(1))
        if kind == "unit":
            largest = np.array([largest_magnitude(X)])
            ranks.max(largest)
            return cls(np.zeros(1), np.where(largest > 0, reciprocals(largest), 1.0))
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

    @property
    def keeps_zeros(self) -> bool:
        """Whether 0 stays 0, so that sparse inputs stay sparse."""
        return not self.shift.any()

    def __call__(self, X: Any, dtype: Any, out: NDArray[Any] | None = None) -> Any:
        """Return X (n, d) scaled, in `dtype`; write to `out`, of this shape and type, if given.

        Sparse X stays sparse; `InputError` unless the scaling `keeps_zeros`.
        """
        if isinstance(X, SparseRows):
            return self._of_sparse(X, dtype)
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

    def _of_sparse(self, X: SparseRows, dtype: Any) -> SparseRows:
        if not self.keeps_zeros:
            raise InputError(
                "X is sparse, but the scaling so far, which is that of dense inputs, shifts "
                "columns; give X.toarray()"
            )
        scale = np.broadcast_to(self.scale, (X.width,))

        def scaled(columns: NDArray[np.int32], values: NDArray[Any]) -> NDArray[Any]:
            out = np.empty(len(values), dtype)
            with np.errstate(over="ignore"):
                for start in range(0, len(values), BLOCK_SIZE):
                    part = slice(start, start + BLOCK_SIZE)
                    numbers = values[part].astype(np.float64) * scale[columns[part]]
                    out[part] = np.clip(numbers, -self.limit, self.limit)
            return out

        return X.with_values(scaled)


def reciprocals(largest: NDArray[np.float64]) -> NDArray[np.float64]:
    """``1 / largest``, 0 for 0; the reciprocal of a subnormal number would be infinite."""
    divisor = np.maximum(largest, np.finfo(np.float64).tiny)
    return np.where(largest > 0, 1.0 / divisor, 0.0)


def column_scales(largest: NDArray[np.float64]) -> NDArray[np.float64]:
    """``1 / sqrt(largest_j median)`` for sparse columns with these `largest` magnitudes (d,).

    It is half of the way, in logarithms, from columns as they are to columns whose largest
    magnitude is 1. Few samples want the latter, because rare words are told apart sooner, and many
    want the former, because counts and weights of words, such as TF-IDF, say which of them matter.
    A column whose largest magnitude is another one than the median by more than a factor `ALIKE`
    has other units, and is divided by its own. Columns without numbers have the factor 0.
    """
    own = reciprocals(largest)
    if not own.any():
        return own
    shared = float(np.median(own[own > 0.0]))
    alike = (own >= shared / ALIKE) & (own <= shared * ALIKE)
    return np.where(alike, np.sqrt(own * shared), own)
