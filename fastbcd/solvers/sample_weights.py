"""Weights of samples in full batches: which samples take part, and what each of them counts."""

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
    """Weights (n,) of this rank's samples, checked; None where there are none.

    `InputError` where they are no weights, or too large for a reduction that is not the `mean`.
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
    """Which of n samples take part, and the weights of these; None is all of them, and 1 each.

    A weight of 0 is a sample that is not there. With the `mean` only ratios count: weights are
    none where all are equal, else they are divided by a power of two, which changes no digit,
    so that the largest one lies between 1/2 and 1: sums of large ones might overflow. All ranks
    call this together.

    Raises
    ------
    InputError
        All weights are zero, or some ranks have weights and others have none.
    """
    given = weight is not None
    positive = np.ones(n) if weight is None else weight[weight > 0.0]
    extremes = (float(positive.min()), float(positive.max())) if len(positive) else None
    # A rank without samples has no say.
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
    """Rows of `data` (n, d) where a run has them; `kept` (n,) says which, None is all of them."""
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
