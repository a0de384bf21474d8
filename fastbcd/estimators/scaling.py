"""The scaling of inputs and targets: fitted to the first samples, and revised if they misled.

A column gets a new scale if it was constant in the first part of a stream, or if its size turns
out to differ much. The weights stay, because they belong to columns of size 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.moments import binary_columns, largest_magnitude, of_channels
from fastbcd.data.preprocessing import Preprocessing, column_scales, reciprocals
from fastbcd.data.sparse import column_largest
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.errors import InputError
from fastbcd.estimators.moments import ENOUGH, Moments, RecentMoments, Vector

Array = NDArray[Any]

# A column gets a new scale if its scale is wrong by more than this factor.
FACTOR = 4.0


@dataclass(frozen=True)
class Scaling:
    """The scaling of inputs and targets, and the moments of the samples so far.

    Parameters
    ----------
    inputs : Preprocessing
    targets : dict
        Arguments of `Model`: classes, target_shift, target_scale.
    kind : str
        The parameter `preprocess`.
    input_moments : RecentMoments or None
        None if the scaling of inputs has no mean and deviation.
    target_moments : RecentMoments
        Moments of the targets in their own units, or of one-hot rows.
    largest : (1,) or (d,) array, or None
        Largest magnitude of the inputs, or of each column; None if they are not divided by it.
    channels : int or None
        Channels of images, in each of which all pixels have the same scale.
    binary : (d,) array of bool, or None
        Columns that had 0 and 1 only, and are not scaled while this lasts.
    """

    inputs: Preprocessing
    targets: dict[str, Any]
    kind: str
    input_moments: RecentMoments | None
    target_moments: RecentMoments
    largest: Vector | None = None
    channels: int | None = None
    binary: NDArray[np.bool_] | None = None

    @classmethod
    def of(
        cls,
        inputs: Preprocessing,
        targets: dict[str, Any],
        kind: str,
        X: Array,
        T: Array,
        sample_weight: Array | None,
        channels: int | None = None,
    ) -> Scaling:
        """Begin with `inputs` and `targets` that were fitted to weighted X (n, d) and T (n, k)."""
        by_largest = kind == "unit" or (kind == "auto" and np.isinf(inputs.limit))
        input_moments, binary = None, None
        if kind != "none" and not by_largest:
            weight = float(len(X)) if sample_weight is None else float(np.sum(sample_weight))
            with np.errstate(all="ignore"):
                variance = np.where(inputs.scale > 0.0, inputs.scale**-2.0, 0.0)
            variance = np.where(np.isfinite(variance), variance, 0.0)
            mean = inputs.shift
            if kind == "auto" and channels is None:
                binary = (mean == 0.0) & (inputs.scale == 1.0) & binary_columns(X)
                own = Moments.of(X[:, binary], sample_weight)
                mean = _with(mean, binary, own.mean)
                variance = _with(variance, binary, own.variance)
            input_moments = RecentMoments.of(Moments(weight, mean, variance))
        target_moments = RecentMoments.of(Moments.of(T, sample_weight))
        largest = _largest(X, len(inputs.scale)) if by_largest else None
        moments = input_moments, target_moments
        return cls(inputs, targets, kind, *moments, largest, channels, binary)

    def follow(self, X: Array, T: Array, sample_weight: Array | None) -> Scaling:
        """Return the scaling after more samples X (m, d), T (m, k) of these weights (m,)."""
        largest = self.largest
        if largest is not None:
            largest = np.maximum(largest, _largest(X, len(largest)))
        if largest is None:
            if isinstance(X, SparseRows) and self.input_moments is not None:
                raise InputError(
                    "X is sparse, but was dense so far, when its columns were shifted; give "
                    "X.toarray()"
                )
            inputs, input_moments = self._follow_moments(X, sample_weight)
        else:
            inputs, input_moments = self._follow_largest(largest), None
        targets, target_moments = self._follow_targets(T, sample_weight)
        return replace(
            self,
            binary=None if self.binary is None else self.binary & binary_columns(X),
            inputs=inputs,
            targets=targets,
            input_moments=input_moments,
            target_moments=target_moments,
            largest=largest,
        )

    def _follow_largest(self, largest: Vector) -> Preprocessing:
        # After nothing but 0, any number is a better guess of the largest than 1.
        first = (self.largest == 0.0) & (largest > 0.0)
        scale = reciprocals(largest) if len(largest) == 1 else column_scales(largest)
        wrong = first | (self.inputs.scale > FACTOR * scale)
        if not wrong.any():
            return self.inputs
        return replace(self.inputs, scale=np.where(wrong, scale, self.inputs.scale))

    def _follow_moments(
        self, X: Array, sample_weight: Array | None
    ) -> tuple[Preprocessing, RecentMoments | None]:
        if self.input_moments is None:
            return self.inputs, None
        shift, scale = self.inputs.shift, self.inputs.scale
        these, constant = Moments.of(X, sample_weight), scale == 0.0
        if self.is_uninformative and these.deviation.any():
            recent = RecentMoments.of(these)  # constant columns say nothing of their size
        else:
            recent = self.input_moments.updated(X, sample_weight)
        stopped = np.zeros_like(constant)  # 0 and 1 say as little of a column's size
        if self.binary is not None:
            stopped = self.binary & ~binary_columns(X)
        recent = _restart_constant(recent, constant | stopped, these, len(X))
        moments = recent.moments
        if self.channels is not None:
            mean, deviation = of_channels(moments.mean, moments.deviation, self.channels)
            moments = Moments(moments.weight, mean, deviation**2)
        wrong = _misjudged(moments, shift, scale, constant)
        if self.binary is not None:
            wrong = np.where(self.binary, stopped & (moments.deviation > 0.0), wrong)
        if not wrong.any():
            return self.inputs, recent
        shift = np.where(wrong, moments.mean, shift)
        scale = np.where(wrong, 1.0 / np.where(wrong, moments.deviation, 1.0), scale)
        return replace(self.inputs, shift=shift, scale=scale), recent

    def _follow_targets(
        self, T: Array, sample_weight: Array | None
    ) -> tuple[dict[str, Any], RecentMoments]:
        recent = self.target_moments.updated(T, sample_weight)
        if self.targets.get("target_shift") is None:
            return self.targets, recent
        shift, scale = self.targets["target_shift"], self.targets["target_scale"]
        constant = self.target_moments.moments.deviation == 0.0
        recent = _restart_constant(recent, constant, Moments.of(T, sample_weight), len(T))
        moments = recent.moments
        wrong = _misjudged(moments, shift, 1.0 / scale, constant)
        if not wrong.any():
            return self.targets, recent
        shift = np.where(wrong, moments.mean, shift)
        scale = np.where(wrong, moments.deviation, scale)
        return self.targets | {"target_shift": shift, "target_scale": scale}, recent

    @property
    def is_uninformative(self) -> bool:
        """Whether all inputs so far became 0, so that nothing can have been learned from them."""
        return not self.inputs.scale.any() or (self.largest is not None and not self.largest.any())

    def begins(self, before: Scaling) -> bool:
        """Whether these are the first samples whose inputs differ, after those of `before`."""
        return before.is_uninformative and not self.is_uninformative

    def output_unit(self, now: float) -> float:
        """Return the rms of scaled targets about their mean, or `now` if that is about right."""
        scale = self.targets.get("target_scale")
        deviation = self.target_moments.moments.deviation / (1.0 if scale is None else scale)
        unit = float(np.sqrt(np.mean(deviation**2)))
        return unit if unit > 0.0 and not 1.0 / FACTOR <= unit / now <= FACTOR else now


def _largest(X: Any, n: int) -> Vector:
    """Return the largest magnitude of X (1,), or of each of its n columns."""
    return np.array([largest_magnitude(X)]) if n == 1 else column_largest(X)


def _with(values: Vector, columns: NDArray[np.bool_], new: Vector) -> Vector:
    """Return `values` (d,) with `new` in these `columns`."""
    values = values.copy()
    values[columns] = new
    return values


def _restart_constant(
    recent: RecentMoments, constant: NDArray[np.bool_], these: Moments, m: int
) -> RecentMoments:
    """Give columns that were `constant` the moments of `these` m samples, if m is large enough.

    Their old values say nothing of their size, and a mean of both would be far from both.
    """
    if m < ENOUGH or not constant.any():
        return recent
    return recent.replaced(constant & (these.deviation > 0.0), these)


def _misjudged(
    moments: Moments, shift: Vector, scale: Vector, constant: Array
) -> NDArray[np.bool_]:
    """Mark columns that were `constant`, or in which ``(x - shift) * scale`` is not about 1."""
    deviation = moments.deviation
    with np.errstate(all="ignore"):
        size, centre = deviation * scale, np.abs(moments.mean - shift) * scale
    wrong = constant | (size > FACTOR) | (size < 1.0 / FACTOR) | (centre > FACTOR)
    return np.asarray(wrong & (deviation > 0.0))
