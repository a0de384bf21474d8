"""A V_l-block with a proximal term, for a block that is solved exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.kernels import Penalty
from fastbcd.layers.base import Layer


class ProximalStateBlock:
    """``argmin_V s(V) + kappa/2 |V - C|^2 + rho/2 |U - A(V; W)|^2 + alpha/2 |V - V'|^2``.

    Both squares of V together are ``(kappa + alpha)/2 |V - C'|^2`` and a constant, with
    ``C' = (kappa C + alpha V') / (kappa + alpha)``, so this is a `StateBlock` of the layer. The
    decrease is that of the first three terms. If the block finds a global minimiser, the decrease
    is at least ``alpha/2 |V - V'|^2``, even where the function is not convex.

    Parameters
    ----------
    device : Device
    layer : Layer
        The layer above the states, whose `state_block` is exact.
    W : array
    penalty : Penalty
        s.
    kappa : float, or (d_in,) array
        > 0.
    rho, alpha : float
        rho > 0, alpha >= 0.
    """

    def __init__(
        self,
        device: Device,
        layer: Layer,
        W: Any,
        penalty: Penalty,
        kappa: Any,
        rho: Any,
        alpha: float,
    ) -> None:
        self._block = layer.state_block(device, W, penalty, kappa + alpha, rho, measured=True)
        self.operator, self.penalty = self._block.operator, penalty
        self.scale = self._block.scale * (kappa / (kappa + alpha))
        self._share = self._block.scale * (alpha / (kappa + alpha))
        self._device, self._alpha = device, alpha

    def center(self, tile: Tile, V: Any) -> Any:
        """Return memory for C, which is not V."""
        return self._block.center(tile, V)

    def solve(self, tile: Tile, V: Any, C: Any, U: Any, decrease: Any, *sample_weight: Any) -> None:
        """Replace V of a tile by the minimiser; see `fastbcd.layers.StateBlock`."""
        C += self._device.array(self._share, V.dtype) * V
        if decrease is None:
            self._block.solve(tile, V, C, U, None, *sample_weight)
            return
        part = self._device.zeros((2,), np.float64)
        self._block.solve(tile, V, C, U, part, *sample_weight)
        part[0] += 0.5 * self._alpha * part[1]
        decrease += part
