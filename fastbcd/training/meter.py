"""Measurements around the blocks of an iteration: decreases of F, squared steps and seconds.

Solvers wrap their blocks in a `Meter`; without a descent log and a clock it does nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.training.clock import laps, laps_of_all_threads
from fastbcd.training.descent_log import DescentLog


class Meter:
    """Measures the blocks V_l, U_l and W_l of one layer.

    Parameters
    ----------
    device : Device
    state : State
        Seconds go to its ``clock``, if it is set.
    l : int
        Number of the layer.
    kinds : str
        Blocks of states, "V" or "VU".
    unit : float
        The factor of a sample's terms in F.
    log : DescentLog or None
        Decreases go there.
    """

    def __init__(
        self,
        device: Device,
        state: Any,
        l: int,
        kinds: str,
        unit: float,
        log: DescentLog | None,
    ) -> None:
        self._device, self._state, self._l = device, state, l
        self._kinds, self._unit = kinds, unit
        self._log = log
        self._sums = None if log is None else device.sum((len(kinds), 2))
        self.decrease_of_weights: Any = None if log is None else device.zeros((2,), np.float64)
        """An array (2,) to which W_l adds its decrease of F and squared step; None to skip both."""
        self._lap = laps_of_all_threads(state.clock)

    def lap(self, kind: str) -> None:
        """Count the work of the whole process since the last lap for block ``kind_l``."""
        self._lap(kind, self._l)

    def of_tile(self, tile: Tile) -> TileMeter:
        """Return the meter of one tile, which its thread uses."""
        return TileMeter(self, tile)

    def finish(self) -> None:
        """Log the decreases, when all blocks are done."""
        if self._log is not None and self._sums is not None:
            for kind, decrease in zip(self._kinds, self._sums.total(), strict=True):
                self._log.add(kind, self._l, decrease, self._unit)
            self._log.add("W", self._l, self.decrease_of_weights)
        self.lap("W")


class TileMeter:
    """Measures the blocks of one tile; see `Meter`."""

    def __init__(self, meter: Meter, tile: Tile) -> None:
        self._meter, self._tile = meter, tile
        self._lap = laps(meter._state.clock)
        self._decreases = None
        if meter._sums is not None:
            self._decreases = meter._device.zeros((len(meter._kinds), 2), np.float64)

    def decrease(self, kind: str) -> Any:
        """Return an array (2,) to which the block adds decrease of F and squared step, or None."""
        return None if self._decreases is None else self._decreases[self._meter._kinds.index(kind)]

    def lap(self, kind: str) -> None:
        """Count the work of this thread since the last lap for block ``kind_l``."""
        self._lap(kind, self._meter._l)

    def finish(self) -> None:
        """Add up the decreases in the tile's turn, when its blocks are done."""
        if self._meter._sums is not None:
            self._meter._sums.add(self._tile, self._decreases)
