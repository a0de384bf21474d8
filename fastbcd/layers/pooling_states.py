"""The operators of pooling layers, and the V_l-blocks below them, which are exact."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.kernels import Penalty, Window
from fastbcd.layers.base import CenterWork, Operator


class MeanOperator:
    """``V -> the mean of each window of V``, which is linear."""

    def __init__(self, kernels: Any, window: Window) -> None:
        self._kernels, self.window = kernels, window

    def apply(self, U: Any, V: Any) -> None:
        """``U = mean of the windows of V``."""
        self._kernels.mean_of_windows(U, V, self.window)

    apply_linear = apply

    def adjoint(self, V: Any, R: Any) -> None:
        """Give each number of a window its share ``R / q``."""
        self._kernels.spread_means(V, R, self.window, 1.0, 0.0)


class MaximumOperator:
    """``V -> the maximum of each window of V``, which is not linear."""

    def __init__(self, kernels: Any, window: Window) -> None:
        self._kernels, self.window = kernels, window

    def apply(self, U: Any, V: Any) -> None:
        """``U = maximum of the windows of V``."""
        self._kernels.maximum_of_windows(U, V, self.window)


class PoolingStateBlock:
    """``argmin_V s(V) + kappa/2 |V - C|^2 + rho/2 |U - A V|^2``, globally, window by window.

    Subclasses call the kernel of their A. A ridge in s is not merged with the term of C, so `scale`
    is 1.

    Parameters
    ----------
    device : Device
    operator : MeanOperator or MaximumOperator
    penalty : Penalty
        s.
    kappa : float, or (d_in,) array
        > 0; an array has one number for each column of V.
    rho : float
        > 0.
    d_in : int
    """

    scale = 1.0
    operator: Operator

    def __init__(
        self, device: Device, operator: Any, penalty: Penalty, kappa: Any, rho: Any, d_in: int
    ) -> None:
        self.operator, self.penalty = operator, penalty
        self._device, self._window, self._rho = device, operator.window, float(rho)
        self._kappa = device.array(np.broadcast_to(kappa, d_in), np.float64)

    def center(self, tile: Tile, V: Any) -> Any:
        """Return memory for C; the decrease needs the old V."""
        return tile.work.of(CenterWork).center.array(V.shape, V.dtype)


class MeanStateBlock(PoolingStateBlock):
    """The block below the mean; see `fastbcd.kernels.solve_below_mean`."""

    def solve(self, tile: Tile, V: Any, C: Any, U: Any, decrease: Any, *sample_weight: Any) -> None:
        """Replace V of a tile by the minimiser; see `fastbcd.layers.StateBlock`."""
        s, window, kappa, rho = self.penalty, self._window, self._kappa, self._rho
        self._device.kernels.solve_below_mean(
            V, C, U, window, s, s.ridge, kappa, rho, decrease, *sample_weight
        )


class MaximumStateBlock(PoolingStateBlock):
    """The block below the maximum; see `fastbcd.kernels.solve_below_maximum`."""

    def solve(self, tile: Tile, V: Any, C: Any, U: Any, decrease: Any, *sample_weight: Any) -> None:
        """Replace V of a tile by a global minimiser; see `fastbcd.layers.StateBlock`."""
        s, window, kappa, rho = self.penalty, self._window, self._kappa, self._rho
        self._device.kernels.solve_below_maximum(
            V, C, U, window, s, kappa, rho, decrease, *sample_weight
        )
