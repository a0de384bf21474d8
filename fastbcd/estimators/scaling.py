"""The scaling of inputs and targets: fitted to the first samples, and anew where these misled.

A column that was constant in the first part of a stream, or of another size than it turns out to
have, is scaled anew, by the samples that show it. Weights stay: they belong to columns of size 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.preprocessing import Preprocessing
from fastbcd.estimators.moments import ENOUGH, Lately, Seen, Vector

Array = NDArray[Any]

# By how much the scale of a column may be wrong before it is chosen anew.
FACTOR = 4.0


@dataclass(frozen=True)
class Scaling:
    """How inputs and targets are scaled, and what has been seen of them.

    Parameters
    ----------
    inputs : Preprocessing
    targets : dict
        Of a `Model`: classes, target_shift, target_scale.
    kind : str
        The parameter `preprocess`.
    seen_inputs : Lately or None
        None where their scaling has no mean and deviation.
    seen_targets : Lately
        Of targets in their own units, or of one-hot rows.
    largest : float
        The largest magnitude of inputs; None where they are not divided by it.
    """

    inputs: Preprocessing
    targets: dict[str, Any]
    kind: str
    seen_inputs: Lately | None
    seen_targets: Lately
    largest: float | None = None

    @classmethod
    def of(
        cls,
        inputs: Preprocessing,
        targets: dict[str, Any],
        kind: str,
        X: Array,
        T: Array,
        sample_weight: Array | None,
    ) -> Scaling:
        """What was fitted to samples X (n, d), T (n, k) of these weights (n,)."""
        by_largest = kind == "unit" or (kind == "auto" and np.isinf(inputs.limit))
        seen = None
        if kind != "none" and not by_largest:
            weight = float(len(X)) if sample_weight is None else float(np.sum(sample_weight))
            with np.errstate(all="ignore"):
                variance = np.where(inputs.scale > 0.0, inputs.scale**-2.0, 0.0)
            variance = np.where(np.isfinite(variance), variance, 0.0)
            seen = Lately.of(Seen(weight, inputs.shift, variance))
        seen_targets = Lately.of(Seen.nothing(T.shape[1]).also(T, sample_weight))
        largest = _largest(X) if by_largest else None
        return cls(inputs, targets, kind, seen, seen_targets, largest)

    def follow(self, X: Array, T: Array, sample_weight: Array | None) -> Scaling:
        """After these samples, too; the same `inputs` where they still do."""
        seen, largest = self.seen_inputs, self.largest
        inputs, targets = self.inputs, self.targets
        if seen is not None:
            alone = Seen.nothing(X.shape[1]).also(X, sample_weight)
            # Where all columns were constant, what they were says nothing of their size.
            begins = self.says_nothing and alone.deviation.any()
            seen = Lately.of(alone) if begins else seen.also(X, sample_weight)
            constant = inputs.scale == 0.0
            if constant.any():
                seen = _by_these(seen, constant, alone, len(X))
            wrong = _misjudged(seen.seen, inputs.shift, inputs.scale, constant)
            if wrong.any():
                shift = np.where(wrong, seen.seen.mean, inputs.shift)
                deviation = np.where(wrong, seen.seen.deviation, 1.0)
                inputs = replace(
                    inputs, shift=shift, scale=np.where(wrong, 1.0 / deviation, inputs.scale)
                )
        elif largest is not None:
            largest = max(largest, _largest(X))
            # Nothing but 0 so far: any number is a better guess than 1.
            if largest * inputs.scale[0] > FACTOR or (self.largest == 0.0 and largest > 0.0):
                inputs = replace(inputs, scale=np.array([1.0 / largest]))
        seen_targets = self.seen_targets.also(T, sample_weight)
        if targets.get("target_scale") is not None:
            shift, scale = targets["target_shift"], targets["target_scale"]
            constant = self.seen_targets.seen.deviation == 0.0
            if constant.any():
                alone = Seen.nothing(T.shape[1]).also(T, sample_weight)
                seen_targets = _by_these(seen_targets, constant, alone, len(T))
            wrong = _misjudged(seen_targets.seen, shift, 1.0 / scale, constant)
            if wrong.any():
                targets = targets | {
                    "target_shift": np.where(wrong, seen_targets.seen.mean, shift),
                    "target_scale": np.where(wrong, seen_targets.seen.deviation, scale),
                }
        return Scaling(inputs, targets, self.kind, seen, seen_targets, largest)

    @property
    def says_nothing(self) -> bool:
        """Whether all inputs so far became 0, so that nothing can have been learned from them."""
        return not self.inputs.scale.any() or self.largest == 0.0

    def begins(self, before: Scaling) -> bool:
        """Whether these are the first samples that differ, after others that did not."""
        return before.says_nothing and not self.says_nothing

    def output_unit(self, now: float) -> float:
        """The rms of targets, scaled, about their mean; `now` where that is about right."""
        scale = self.targets.get("target_scale")
        deviation = self.seen_targets.seen.deviation / (1.0 if scale is None else scale)
        unit = float(np.sqrt(np.mean(deviation**2)))
        return unit if unit > 0.0 and not 1.0 / FACTOR <= unit / now <= FACTOR else now


def _largest(X: Array) -> float:
    return max(abs(float(X.min())), abs(float(X.max())))


def _by_these(seen: Lately, constant: NDArray[np.bool_], alone: Seen, m: int) -> Lately:
    """Columns that were `constant`, as in the m samples seen `alone`, if these are enough to tell.

    What they were says nothing of their size, and a mean of both would lie far from both.
    """
    return seen.like(alone, constant & (alone.deviation > 0.0)) if m >= ENOUGH else seen


def _misjudged(seen: Seen, shift: Vector, scale: Vector, constant: Array) -> NDArray[np.bool_]:
    """Columns whose size ``(x - shift) * scale`` is not about 1, or that were `constant` so far."""
    deviation = seen.deviation
    with np.errstate(all="ignore"):
        size, centre = deviation * scale, np.abs(seen.mean - shift) * scale
    wrong = constant | (size > FACTOR) | (size < 1.0 / FACTOR) | (centre > FACTOR)
    return np.asarray(wrong & (deviation > 0.0))
