"""Weights of classes that make up for their frequencies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.ranks import Ranks


def balanced(totals: NDArray[Any]) -> NDArray[np.float64]:
    """Return ``n / (k n_c)`` for the k classes, n_c of `totals` (k,) samples and n together.

    Then all classes weigh the same together. A class without samples is counted as one sample.
    """
    each: NDArray[np.float64] = totals.sum() / (len(totals) * np.where(totals > 0, totals, 1))
    return each


def balanced_weights(
    codes: NDArray[np.intp], n_classes: int, ranks: Ranks, weight: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Return the weight (n,) of each sample by its class, ``codes`` (n,), for `balanced` classes.

    Frequencies are those of the samples of all ranks; all call this together. With a `weight` (n,)
    a sample counts so often, and the result is the product of both.
    """
    totals = np.bincount(codes, weight, minlength=n_classes).astype(np.float64)
    ranks.sum(totals)
    each: NDArray[np.float64] = balanced(totals)[codes]
    return each if weight is None else each * weight
