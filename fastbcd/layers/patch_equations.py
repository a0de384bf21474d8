"""Normal equations of a convolution: their rows are the patches of all samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.kernels.patches import PATCH_BYTES
from fastbcd.layers.convolution import Shapes
from fastbcd.layers.normal_equations import CrossProduct, NormalEquations


class PatchWork(Workspace):
    """Work array of a tile: the patches of a group of images."""

    patches: Buffer


class TileSums(Workspace):
    """Sums of a tile in float64, to which its groups of images add."""

    cross: Buffer
    gram: Buffer


def groups_of_patches(
    device: Device, shapes: Shapes, tile: Tile, R: Any, V: Any, *sample_weight: Any
) -> Iterator[tuple[Any, ...]]:
    """Yield rows of R by positions, their patches of V, and their weights where there are any."""
    buffer = tile.work.of(PatchWork).patches
    for rows in shapes.groups(len(V), V.itemsize, device.group_bytes(PATCH_BYTES)):
        images = V[rows]
        patches = buffer.array((len(images) * shapes.n_positions, shapes.patch), V.dtype)
        device.kernels.gather_patches(patches, images, shapes.window)
        weight = [np.repeat(c[rows], shapes.n_positions) for c in sample_weight]
        yield R[rows].reshape(len(patches), shapes.channels), patches, *weight


def add_patches(
    device: Device, shapes: Shapes, tile: Tile, cross: Any, gram: Any, *samples: Any
) -> None:
    """Replace `cross`, and `gram` unless it is None, by the sums over a tile, in float64.

    `samples` are R (m, d_out), V (m, d_in) and, if there are any, the weights (m,).
    """
    for total in (cross, gram):
        if total is not None:
            total[:] = 0.0
    for r, patches, *weight in groups_of_patches(device, shapes, tile, *samples):
        part = device.solves.tile_cross(tile, cross, r, patches, 0, *weight)
        device.solves.add_tile_cross(cross, part)
        if gram is not None:
            square = device.solves.tile_gram(tile, gram, patches, *weight)
            device.solves.add_tile_gram(gram, patches, square, *weight)


class PatchCross(CrossProduct):
    """``sum_i c_i sum_p r_ip^T p^_ip`` over samples i and positions p, ``p^ = [patch, 1]``."""

    def __init__(self, device: Device, shapes: Shapes) -> None:
        super().__init__(device, (shapes.channels, shapes.patch + 1))
        self._shapes = shapes

    def multiply(self, tile: Tile, R: Any, V: Any, number: int = 0, *sample_weight: Any) -> Any:
        """Return the sum over one tile, in float64."""
        total = tile.work.of(TileSums, number).cross.array(self.cross.shape, np.float64)
        add_patches(self._device, self._shapes, tile, total, None, R, V, *sample_weight)
        return total

    def add(self, product: Any) -> None:
        """Add a `product` that `multiply` returned, when it is the tile's turn."""
        self.cross += product


class PatchEquations(NormalEquations):
    """`NormalEquations` with a row for each position of each sample."""

    def __init__(self, device: Device, shapes: Shapes, same_inputs: bool) -> None:
        super().__init__(device, (shapes.channels, shapes.patch + 1), same_inputs)
        self._shapes = shapes

    def add(self, tile: Tile, R: Any, V: Any, *sample_weight: Any) -> None:
        """Add one tile: R (m, d_out) residuals, V (m, d_in) images, weights (m,) if any."""
        cross, gram = self.multiply(tile, R, V, 0, *sample_weight)
        tile.wait_for_turn()
        self.add_sums(cross, gram)

    def multiply(
        self, tile: Tile, R: Any, V: Any, number: int, *sample_weight: Any
    ) -> tuple[Any, Any]:
        """Return the sums over one tile, cross and Gram, the latter None if it is complete.

        `number` tells several sums over the same tile apart.
        """
        work, gram = tile.work.of(TileSums, number), None
        cross = work.cross.array(self._shape, np.float64)
        if not self._gram_complete:
            gram = work.gram.array(self._square, np.float64)
        add_patches(self._device, self._shapes, tile, cross, gram, R, V, *sample_weight)
        return cross, gram

    def add_sums(self, cross: Any, gram: Any) -> None:
        """Add what `multiply` returned, when it is the tile's turn."""
        self.cross += cross
        if gram is not None:
            self._system.gram += gram
