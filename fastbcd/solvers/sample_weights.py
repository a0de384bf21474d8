"""Weights of samples in full batches: the samples that take part, and the weight of each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbcd.data.validation import NOTHING_LEFT, check_sample_weight
from fastbcd.devices.ranks import Ranks, collective_errors
from fastbcd.errors import InputError
from fastbcd.support.parameters import LARGEST

Weights = NDArray[np.float64]


def checked(sample_weight: ArrayLike | None, n: int, device: Any, mean: bool) -> Weights | None:
    """Return the weights (n,) of this rank's samples after a check; None if none are given.

    `InputError` if they are not valid, or too large for ``reduction="sum"`` (`mean` is False).
    """
    if sample_weight is None:
        return None
    weight = check_sample_weight(device.numpy(device.as_input(sample_weight)), n)
    if not mean and weight.max(initial=0.0) > LARGEST:
        raise InputError(
            f"sample_weight must be at most {LARGEST:g} with reduction='sum', but number "
            f"{int(weight.argmax())} is {weight.max():g}"
        )
    return weight


def agreed(
    weight: Weights | None, n: int, mean: bool, ranks: Ranks
) -> tuple[NDArray[np.bool_] | None, Weights | None]:
    """Return a mask of the n samples that take part (None: all) and their weights (None: 1 each).

    A sample of weight 0 is left out. With the `mean` only ratios of weights matter. So if all are
    equal the weights are None; otherwise they are divided by a power of two, which changes no
    digit, such that the largest lies between 1/2 and 1, because sums of large weights might
    overflow. All ranks call this together.

    Raises
    ------
    InputError
        All weights are zero, or some ranks have weights and others have none.
    """
    given = weight is not None
    positive = np.ones(n) if weight is None else weight[weight > 0.0]
    extremes = (float(positive.min()), float(positive.max())) if len(positive) else None
    # Ranks without samples are ignored.
    everywhere = ranks.gather((given, extremes, n))
    reports = [(has, each) for has, each, samples in everywhere if samples]
    with collective_errors(ranks):
        if len({has for has, _ in reports}) > 1:
            raise InputError("sample_weight: give it on all ranks, or on none")
        if not any(has for has, _ in reports):
            return None, None
        ranges = [each for _, each in reports if each is not None]
        if not ranges:
            raise InputError(NOTHING_LEFT.format("sample_weight"))
        least, largest = min(low for low, _ in ranges), max(high for _, high in ranges)
    kept = None if weight is None or weight.all() else weight > 0.0
    if least == largest and (mean or largest == 1.0):
        return kept, None
    return kept, np.ldexp(positive, -math.frexp(largest)[1]) if mean else positive


def place(storage: Any, data: Any, dtype: Any, kept: NDArray[np.bool_] | None) -> Any:
    """Return the rows `kept` (n,) of `data` (n, d) in `storage`; None keeps all rows."""
    if kept is None:
        return storage.place(data, dtype)
    (array,) = storage.allocate([(int(kept.sum()), data.shape[1])], dtype)
    first = 0
    for rows in storage.blocks(data):
        part = data[rows][kept[rows]]
        array[first : first + len(part)] = part
        if len(part):
            storage.done_with(array, slice(first, first + len(part)))
        first += len(part)
    return array
