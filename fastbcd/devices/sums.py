"""Sums over samples: tiles are added in their order, then ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.ranks import Ranks
from fastbcd.devices.tiles import Tile


class SampleSum:
    """A float64 array of `shape`, summed over tiles of samples and over `ranks`."""

    def __init__(self, shape: int | tuple[int, ...], ranks: Ranks) -> None:
        self._sum, self._ranks = np.zeros(shape), ranks

    def add(self, tile: Tile, part: Any) -> None:
        """Add the part of one `tile`, in its turn."""
        tile.wait_for_turn()
        self._sum += part

    def total(self) -> NDArray[Any]:
        """Return the sum over the samples of all ranks; call it once, after the pass."""
        self._ranks.sum(self._sum)
        return self._sum
