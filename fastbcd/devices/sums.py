"""Sums over samples: tiles add to them in their order, and ranks theirs to one another's."""

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
        """Add what one `tile` contributes, in its turn."""
        tile.wait_for_turn()
        self._sum += part

    def total(self) -> NDArray[Any]:
        """The sum over all samples, the same on all ranks; to be called once, after the pass."""
        self._ranks.sum(self._sum)
        return self._sum
