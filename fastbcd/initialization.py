"""Initial weights: He, or normal with a given standard deviation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fastbcd.specification import require

# Standard deviation of one layer's weights, given its number of inputs and, for a
# residual layer, how many of these the network has (0 for a plain layer).
Deviation = Callable[[int, int], float]


def he() -> Deviation:
    """``W ~ N(0, 2 / d_in)`` (He et al. 2015), which keeps the scale of ReLU states.

    In residual layers the deviation is divided by their number: each adds to the
    state below, and with full-sized additions states would grow exponentially with depth.
    """
    return lambda d_in, n_residual: float(np.sqrt(2.0 / d_in)) / max(n_residual, 1)


def normal(std: float = 0.01) -> Deviation:
    """``W ~ N(0, std^2)``; the published experiments use 0.01."""
    std = require(std, "std", at_least=0)
    return lambda d_in, n_residual: std


INITIALIZATIONS: dict[str, Callable[..., Deviation]] = {"he": he, "normal": normal}


def initial_weights(
    widths: Sequence[int],
    residual: Sequence[bool],
    deviation: Deviation,
    bias: float,
    seed: int,
    dtype: np.dtype,
) -> list[NDArray[np.floating]]:
    """``[W_1, ..., W_L]``, each (d_l, d_{l-1} + 1), the last column filled with `bias`.

    Drawn in float64 whatever `dtype` is, so float32 and float64 runs start alike.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    n_residual = sum(residual)
    for (d_in, d_out), skip in zip(itertools.pairwise(widths), residual, strict=True):
        W = np.full((d_out, d_in + 1), bias, dtype)
        W[:, :-1] = deviation(d_in, n_residual * skip) * rng.standard_normal((d_out, d_in))
        drawn.append(W)
    return drawn
