"""The W-block and the gradient in W of a layer without weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.kernels import Penalty


class NoWeights:
    """A `WeightBlock` that has nothing to solve for."""

    def start(self, keep_gram: bool) -> None:
        """Do nothing."""

    def add(self, tile: Tile, R: Any, V: Any, *sample_weight: Any) -> None:
        """Do nothing."""

    def solve(self, W: Any, weight: Any, penalty: Penalty, alpha: float, decrease: Any) -> None:
        """Do nothing; the decrease is 0."""

    def divide_residuals(self, divisor: Any) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class NoCrossSum:
    """A `CrossSum` of the shape (0, 0)."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def multiply(self, tile: Tile, R: Any, V: Any, number: int, *sample_weight: Any) -> Any:
        """Return nothing."""

    def add(self, product: Any) -> None:
        """Do nothing."""

    def total(self) -> Any:
        """Return an empty array."""
        return self._device.zeros((0, 0), np.float64)
