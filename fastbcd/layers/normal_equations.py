"""Normal equations of the W-block: sums of products over samples, then one solve."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.solves import RidgeSystem
from fastbcd.devices.tiles import Tile
from fastbcd.kernels import Penalty


class CrossProduct:
    """``sum_i c_i r_i^T v^_i`` over samples, in float64, ``v^ = [v, 1]``; filled tile by tile.

    A tile is multiplied by `multiply` and added by `add`, so that only `add` waits for its turn.
    R (m, d_out), V (m, d_in); `sample_weight` (m,) float64 holds the c_i, which default to 1.
    """

    cross: Any
    """The sum so far, (d_out, d_in + 1)."""

    def __init__(self, device: Device, shape: tuple[int, int]) -> None:
        self._device = device
        self.cross = device.zeros(shape, np.float64)

    def multiply(self, tile: Tile, R: Any, V: Any, number: int = 0, *sample_weight: Any) -> Any:
        """Return the sum over one tile; `number` tells several sums over the same tile apart."""
        return self._device.solves.tile_cross(tile, self.cross, R, V, number, *sample_weight)

    def add(self, product: Any) -> None:
        """Add a `product` that `multiply` returned, when it is the tile's turn."""
        self._device.solves.add_tile_cross(self.cross, product)

    def total(self) -> Any:
        """Return the sum over the samples of all ranks; call it once, after the pass."""
        self._device.sum_over_ranks(self.cross)
        return self.cross


class NormalEquations:
    """Gram ``sum_i c_i v^_i^T v^_i`` and cross product ``sum_i c_i r_i^T v^_i``, in float64.

    r_i are the rows of ``R = U - V^ W'^T``, W' the old W; the weights c of samples default to 1.
    `solve` adds up the sums of all ranks. Each rank then solves for some rows of W, or for all of
    them, and the ranks exchange these, so that all have the same bits.

    Parameters
    ----------
    device : Device
    shape : (d_out, d_in + 1)
        Shape of W.
    same_inputs : bool
        V is the same in every iteration: the Gram matrix and its factor have memory of their own
        and `start` may keep them. Otherwise memory is borrowed from the device's pool, from
        `start` to `finish`.
    """

    cross: Any

    def __init__(self, device: Device, shape: tuple[int, int], same_inputs: bool) -> None:
        self._device, self._shape, self._square = device, shape, (shape[1], shape[1])
        self._same_inputs = same_inputs
        self._borrowed: list[Any] = []
        self._gram_complete = False
        self._system = RidgeSystem(device.empty((2, shape[1]), np.float64))
        if same_inputs:
            self._system.gram = device.empty(self._square, np.float64)
            self._system.factor = device.empty(self._square, np.float64)

    @property
    def gram(self) -> Any:
        """The Gram matrix so far, its lower triangle."""
        return self._system.gram

    def _borrow(self, shape: tuple[int, ...]) -> Any:
        self._borrowed.append(self._device.pool.borrow(shape))
        return self._borrowed[-1]

    def finish(self) -> None:
        """Give memory back to the pool."""
        self._device.pool.give_back(*self._borrowed)
        self._borrowed.clear()
        self._gram_complete &= self._same_inputs

    def start(self, keep_gram: bool) -> None:
        """Set the sums to 0; with `keep_gram` a complete Gram matrix and its factor are kept."""
        keep_gram = keep_gram and self._gram_complete
        if not keep_gram:
            self.finish()  # in case an error ended the last iteration before it gave memory back
        if not self._borrowed:
            self.cross = self._borrow(self._shape)
        self.cross[...] = 0.0
        if not keep_gram:
            system = self._system
            if not self._same_inputs:
                system.gram, system.factor = self._borrow(self._square), self._borrow(self._square)
            system.gram[...] = 0.0
            system.factored_for = None
            self._gram_complete = False

    def add(self, tile: Tile, R: Any, V: Any, *sample_weight: Any) -> None:
        """Add one tile: R (m, d_out) residuals, V (m, d_in) states below, weights (m,) if any."""
        solves, gram = self._device.solves, self._system.gram
        product = solves.tile_cross(tile, self.cross, R, V, 0, *sample_weight)
        if not self._gram_complete:
            square = solves.tile_gram(tile, gram, V, *sample_weight)
        tile.wait_for_turn()
        solves.add_tile_cross(self.cross, product)
        if not self._gram_complete:
            solves.add_tile_gram(gram, V, square, *sample_weight)

    def divide_residuals(self, divisor: Any) -> None:
        """Divide the residuals that were added by `divisor`."""
        self.cross /= divisor

    def solve(
        self, W: Any, weight: Any, penalty: Penalty, alpha: float, decrease: Any = None
    ) -> None:
        """``W = argmin_W weight/2 |U - V^ W^T|^2 + alpha/2 |W - W'|^2 + r(W)``, in place.

        Where `decrease` (2,) is not None, the decrease of F (without the proximal term) and
        ``|W - W'|^2`` are added to it. `weight` may be an array (1,) of a GPU.
        """
        solves, system = self._device.solves, self._system
        solves.sum_equations(self.cross, None if self._gram_complete else system.gram)
        self._gram_complete = True
        solves.check_equations(W, self.cross, system.gram)
        if penalty.ridge is None:
            solves.descent(system, W, self.cross, weight, penalty, alpha, decrease)
        else:
            solves.ridge(system, W, self.cross, weight, penalty.ridge, alpha, decrease)
