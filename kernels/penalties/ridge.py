"""Ridge penalty: ``r(W) = strength/2 |W|^2``, and no penalty as its case of strength 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ridge:
    """Squared l2 penalty, ``r(W) = strength/2 |W|_F^2``, ``strength >= 0``.

    Quadratic, so the W-block stays a linear solve: see `fastbcd.kernels.ridge`.

    Raises
    ------
    ValueError
        If `strength` is negative or above 1e15.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1e15:
            raise ValueError(f"ridge: strength must lie between 0 and 1e15, got {self.strength}")

    def value(self, weights: NDArray[np.floating]) -> float:
        """``strength/2 |W|^2`` of `weights` (without their bias column), in float64."""
        return 0.5 * self.strength * float(np.sum(np.square(weights, dtype=np.float64)))

    def __repr__(self) -> str:
        return f"ridge:{self.strength:g}" if self.strength else "none"


def no_penalty() -> Ridge:
    """No penalty, ``r(W) = 0``."""
    return Ridge(0.0)
