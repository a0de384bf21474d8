"""Initial weights: He, or normal with a given standard deviation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fastbcd.specification import require

# Standard deviation of one layer's weights as a function of its number of inputs.
Deviation = Callable[[int], float]


def he() -> Deviation:
    """``W ~ N(0, 2 / d_in)`` (He et al. 2015), which keeps the scale of ReLU states."""
    return lambda d_in: float(np.sqrt(2.0 / d_in))


def normal(std: float = 0.01) -> Deviation:
    """``W ~ N(0, std^2)``; the published experiments use 0.01."""
    std = require(std, "std", at_least=0)
    return lambda d_in: std


INITIALIZATIONS: dict[str, Callable[..., Deviation]] = {"he": he, "normal": normal}


def initial_weights(
    widths: Sequence[int], deviation: Deviation, bias: float, seed: int, dtype: np.dtype
) -> list[NDArray[np.floating]]:
    """``[W_1, ..., W_L]``, each (d_l, d_{l-1} + 1), the last column filled with `bias`.

    Drawn in float64 whatever `dtype` is, so float32 and float64 runs start alike.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for d_in, d_out in itertools.pairwise(widths):
        W = np.full((d_out, d_in + 1), bias, dtype)
        W[:, :-1] = deviation(d_in) * rng.standard_normal((d_out, d_in))
        drawn.append(W)
    return drawn
