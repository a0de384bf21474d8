"""Skip connections of residual layers: ``V_l = S_l V_{l-1} + act_l(U_l)``, S_l fixed and linear."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.layers.convolution import Shapes

Slices = tuple[slice, ...]


class SkipWork(Workspace):
    """Work array of a tile for ``S V``, where that is not V itself."""

    SV: Buffer


@dataclass(frozen=True)
class Skip:
    """``S v``: v itself, or its first d_out numbers, or v followed by zeros, as the widths ask.

    S keeps some numbers of v, and gives each a place in the result. So ``S^T S`` is diagonal, 1 for
    the columns of V_{l-1} that S keeps and 0 for the others, and the V_{l-1}-block keeps its form
    with one weight for each column. S has no weights. `SkipOfImages` keeps other numbers.
    """

    d_in: int
    d_out: int

    @property
    def is_identity(self) -> bool:
        """Whether S v is v."""
        return self.d_in == self.d_out

    @property
    def is_front(self) -> bool:
        """Whether S v is v without its last numbers, so that no array is needed for it."""
        return self.d_in >= self.d_out

    @property
    def axes_in(self) -> Slices:
        """The part of each axis of v that S keeps, where v has several axes."""
        return (slice(0, min(self.d_in, self.d_out), 1),)

    @property
    def axes_out(self) -> Slices:
        """Where S puts it, along each axis of S v."""
        return self.axes_in

    @property
    def sizes_out(self) -> tuple[int, ...]:
        """The length of each axis of S v."""
        return (self.d_out,)

    def kept(self, V: Any) -> Any:
        """Return a view of what S keeps of the rows V, which have d_in columns or more."""
        return V[(slice(None), *self.axes_in)]

    def placed(self, SV: Any) -> Any:
        """Return a view, of the same shape, of where S puts it in the rows SV."""
        return SV[(slice(None), *self.axes_out)]

    def apply(self, tile: Tile, V: Any) -> Any:
        """Return ``S V`` (m, d_out) for the rows V (m, d_in) of a tile: V, or a work array."""
        if self.is_identity:
            return V
        SV = tile.work.of(SkipWork).SV.array((len(V), self.d_out), V.dtype)
        self.write(SV, V)
        return SV

    def write(self, SV: Any, V: Any) -> None:
        """Write ``S V`` into the array SV (m, d_out); V has d_in columns or more."""
        SV[:] = 0.0
        self.placed(SV)[:] = self.kept(V)

    def write_adjoint(self, device: Device, D: Any, T: Any, factor: Any) -> None:
        """Write ``factor S^T T`` into the array D (m, d_in)."""
        if not self.is_identity:
            D[:] = 0.0
        device.scaled(self.kept(D), self.placed(T), factor)

    def squares(self) -> np.ndarray:
        """Return the diagonal of ``S^T S`` (d_in,)."""
        ones = np.zeros((1, self.d_in))
        self.kept(ones)[:] = 1.0
        return ones[0]

    def curvature(self, gamma: float) -> Any:
        """Return ``gamma (1 + S^T S)``: a number, or one for each column where they differ."""
        squares = self.squares()
        return gamma * 2.0 if squares.all() else gamma * (1.0 + squares)


@dataclass(frozen=True)
class SkipOfImages(Skip):
    """``S v`` for a layer whose images differ from those below it; see `skip_of`.

    .. code-block:: text

        (S v)[y, x, c] = v[s y + f, s x + f, c],  and 0 where v has no such pixel or channel

    Parameters
    ----------
    d_in, d_out : int
        The numbers of both images.
    image, image_out : (height, width, channels)
    first : (vertical, horizontal)
        f, which may be negative.
    stride : (vertical, horizontal)
        s.
    """

    image: tuple[int, int, int]
    image_out: tuple[int, int, int]
    first: tuple[int, int]
    stride: tuple[int, int]

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def is_front(self) -> bool:
        """False."""
        return False

    def _ends(self, axis: int) -> tuple[int, int]:
        """Return the first and the last position, plus 1, at which v has a pixel."""
        size, first, stride = self.image[axis], self.first[axis], self.stride[axis]
        start = max(0, -(first // stride))
        return start, max(start, min(self.image_out[axis], (size - 1 - first) // stride + 1))

    @property
    def axes_in(self) -> Slices:
        """See `Skip`."""
        axes = []
        for axis, (first, stride) in enumerate(zip(self.first, self.stride, strict=True)):
            start, stop = self._ends(axis)
            axes.append(slice(stride * start + first, stride * stop + first, stride))
        return (*axes, slice(0, min(self.image[2], self.image_out[2]), 1))

    @property
    def axes_out(self) -> Slices:
        """See `Skip`."""
        axes = [slice(*self._ends(axis), 1) for axis in range(2)]
        return (*axes, slice(0, min(self.image[2], self.image_out[2]), 1))

    @property
    def sizes_out(self) -> tuple[int, ...]:
        """See `Skip`."""
        return self.image_out

    def kept(self, V: Any) -> Any:
        """Return a view of the pixels of V that S keeps; see `Skip`."""
        return super().kept(V[:, : self.d_in].reshape(len(V), *self.image))

    def placed(self, SV: Any) -> Any:
        """Return a view of where S puts them; see `Skip`."""
        return super().placed(SV[:, : self.d_out].reshape(len(SV), *self.image_out))


def skip_of(shapes: Shapes) -> Skip:
    """Return the S of a layer of images with these sizes, which has no weights.

    S keeps the pixel in the middle of each patch (the one before the middle of an even number).
    Channels that the layer adds are 0 in S v, and those that it removes are lost. Where both images
    have the same size, S is 1.
    """
    image_out = (*shapes.positions, shapes.channels)
    d_in, d_out = math.prod(shapes.image), math.prod(image_out)
    if image_out == shapes.image:
        return Skip(d_in, d_out)
    vertical, horizontal = (
        (k - 1) // 2 - p for k, p in zip(shapes.kernel, shapes.padding, strict=True)
    )
    return SkipOfImages(d_in, d_out, shapes.image, image_out, (vertical, horizontal), shapes.stride)


def curvature(skip: Skip | None, gamma: float) -> Any:
    """Return ``gamma (1 + S^T S)``, which is gamma without a skip."""
    return gamma if skip is None else skip.curvature(gamma)
