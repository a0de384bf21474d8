"""Groups of channels: the operator, and the blocks of W, with one convolution for each group."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.kernels import Penalty
from fastbcd.layers.convolution import ConvolutionOperator, Shapes
from fastbcd.layers.patch_equations import PatchCross, PatchEquations


def split(A: Any, channels: int, groups: int) -> Any:
    """Return a copy of images (m, pixels channels) as (groups, m, pixels channels / groups)."""
    parts = A.reshape(len(A), -1, groups, channels // groups).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(parts).reshape(groups, len(A), -1)


def join(A: Any, parts: Any, channels: int) -> None:
    """Write the parts that `split` would return into the images A."""
    m, groups = len(A), len(parts)
    by_group = A.reshape(m, -1, groups, channels // groups)
    for g, part in enumerate(parts):
        by_group[:, :, g] = part.reshape(m, -1, channels // groups)


class GroupedOperator:
    """``V -> A(V; W)``, W (channels, patch of a group + 1) with the rows of a group side by side.

    Parameters
    ----------
    kernels
        Those of the device.
    shapes, part : Shapes
        Of the layer, and of one group.
    weights : array
        W.
    groups : int
    """

    def __init__(
        self, kernels: Any, shapes: Shapes, part: Shapes, weights: Any, groups: int
    ) -> None:
        self.shapes, self.bias = shapes, weights[:, -1]
        rows = np.split(weights, groups)
        self._parts = [ConvolutionOperator(kernels, part, own) for own in rows]

    def _through(self, apply: str, U: Any, V: Any) -> None:
        """Apply a method of each group's operator."""
        groups, shapes = len(self._parts), self.shapes
        made = np.empty((groups, len(U), U.shape[1] // groups), U.dtype)
        for operator, u, v in zip(
            self._parts, made, split(V, shapes.image[2], groups), strict=True
        ):
            getattr(operator, apply)(u, v)
        join(U, made, shapes.channels)

    def apply(self, U: Any, V: Any) -> None:
        """``U = A(V; W)``."""
        self._through("apply", U, V)

    def apply_linear(self, U: Any, V: Any) -> None:
        """``U = A(V; W)`` without the bias."""
        self._through("apply_linear", U, V)

    def adjoint(self, V: Any, R: Any, scale: Any = 1.0, keep: float = 0.0) -> None:
        """``V = scale A*(R; W) + keep V``."""
        groups, shapes = len(self._parts), self.shapes
        made = split(V, shapes.image[2], groups)
        for operator, v, r in zip(
            self._parts, made, split(R, shapes.channels, groups), strict=True
        ):
            operator.adjoint(v, r, scale, keep)
        join(V, made, shapes.image[2])

    def squared_norm_bound(self) -> float:
        """Return a number of at least ``|A|_2^2``: the largest bound of a group."""
        return max(operator.squared_norm_bound() for operator in self._parts)


class GroupedEquations:
    """A `WeightBlock` of `PatchEquations` for each group, which solves for the group's rows of W.

    Parameters
    ----------
    device : Device
    part : Shapes
        Of one group.
    groups : int
    same_inputs : bool
        As in `PatchEquations`.
    """

    def __init__(self, device: Device, part: Shapes, groups: int, same_inputs: bool) -> None:
        self._parts = [PatchEquations(device, part, same_inputs) for _ in range(groups)]
        self._channels = groups * part.image[2], groups * part.channels

    def start(self, keep_gram: bool) -> None:
        """Set the sums to 0; see `WeightBlock`."""
        for part in self._parts:
            part.start(keep_gram)

    def add(self, tile: Tile, R: Any, V: Any, *sample_weight: Any) -> None:
        """Add one tile: R (m, d_out) residuals, V (m, d_in) images, weights (m,) if any."""
        groups, (below, own) = len(self._parts), self._channels
        pieces = zip(self._parts, split(R, own, groups), split(V, below, groups), strict=True)
        sums = [
            part.multiply(tile, r, v, g, *sample_weight) for g, (part, r, v) in enumerate(pieces)
        ]
        tile.wait_for_turn()
        for part, own_sums in zip(self._parts, sums, strict=True):
            part.add_sums(*own_sums)

    def solve(self, W: Any, weight: Any, penalty: Penalty, alpha: float, decrease: Any) -> None:
        """Replace W by the minimiser; see `WeightBlock`."""
        for part, rows in zip(self._parts, np.split(W, len(self._parts)), strict=True):
            part.solve(rows, weight, penalty, alpha, decrease)

    def divide_residuals(self, divisor: Any) -> None:
        """Divide the residuals that were added by `divisor`."""
        for part in self._parts:
            part.divide_residuals(divisor)

    def finish(self) -> None:
        """Give memory back; see `WeightBlock`."""
        for part in self._parts:
            part.finish()


class GroupedCross:
    """A `CrossSum` of `PatchCross` for each group; parameters as in `GroupedEquations`."""

    def __init__(self, device: Device, part: Shapes, groups: int) -> None:
        self._parts = [PatchCross(device, part) for _ in range(groups)]
        self._channels = groups * part.image[2], groups * part.channels

    def multiply(self, tile: Tile, R: Any, V: Any, number: int = 0, *sample_weight: Any) -> Any:
        """Return the sums over one tile, one for each group."""
        groups, (below, own) = len(self._parts), self._channels
        pieces = zip(self._parts, split(R, own, groups), split(V, below, groups), strict=True)
        # A part returns work memory, which the next one overwrites.
        return [part.multiply(tile, r, v, number, *sample_weight).copy() for part, r, v in pieces]

    def add(self, product: Any) -> None:
        """Add what `multiply` returned."""
        for part, own in zip(self._parts, product, strict=True):
            part.add(own)

    def total(self) -> Any:
        """Return the sum over the samples of all ranks, of the shape of W; call it once."""
        return np.concatenate([part.total() for part in self._parts])
