"""The convolution of images in groups of channels, each of which has its own weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.protocol import Device
from fastbcd.errors import InputError
from fastbcd.layers.conv2d import Conv2d
from fastbcd.layers.convolution_layer import ConvolutionLayer
from fastbcd.layers.grouped_convolution import (
    GroupedCross,
    GroupedEquations,
    GroupedOperator,
    join,
    split,
)
from fastbcd.layers.images import image_sizes
from fastbcd.support.parameters import require_integer


@dataclass(frozen=True)
class GroupedConv2d(ConvolutionLayer):
    """A `Conv2d` for each group of channels, side by side.

    .. code-block:: text

        U[y, x, o] = sum_ijc W[o, i, j, c] V[s y + i - p, s x + j - p, g C/G + c] + b[o]

    with the number G of groups, ``c < C/G``, and the group g of output channel o, which is
    ``o // (channels / G)``. W is (channels, k k C/G + 1). With ``groups`` equal to C, each channel
    of V has kernels of its own.

    The W-block is exact: normal equations for each group. On mini-batches all groups share one
    metric, the mean of their Gram matrices.

    Parameters
    ----------
    image, channels, kernel, stride, padding
        As in `Conv2d`.
    groups : int, default=1
        G, which divides the channels of V and those of U.
    steps : int, default=4
        As in `Conv2d`.

    Raises
    ------
    InputError
        As in `Conv2d`, or G does not divide the channels.

    Examples
    --------
    >>> from fastbcd.layers import GroupedConv2d
    >>> layer = GroupedConv2d((8, 8, 16), channels=32, kernel=3, padding=1, groups=4)
    >>> layer.image_out, layer.weight_shape
    ((8, 8, 32), (32, 37))
    """

    name: ClassVar[str] = "grouped_conv2d"
    needs_processor: ClassVar[bool] = True
    groups: int = 1
    steps: int = 4
    part: Conv2d = field(init=False, repr=False, compare=False)
    """The layer of one group."""

    def __post_init__(self) -> None:
        image = image_sizes(self.image, "Conv2d")
        channels = require_integer(self.channels, "Conv2d: channels", at_least=1)
        groups = require_integer(self.groups, "Conv2d: groups", at_least=1)
        if image[2] % groups or channels % groups:
            raise InputError(
                f"Conv2d: {groups} groups do not divide the {image[2]} channels of the images "
                f"below and the {channels} channels of the layer"
            )
        sizes = (self.kernel, self.stride, self.padding, self.steps)
        whole = Conv2d(image, channels, *sizes)
        part = Conv2d((*image[:2], image[2] // groups), channels // groups, *sizes)
        common = {name: getattr(whole, name) for name in ("kernel", "stride", "padding", "steps")}
        self._set(whole.shapes, channels=channels, groups=groups, part=part, **common)

    @property
    def fan_in(self) -> int:
        """``k k C/G``."""
        return self.part.fan_in

    @property
    def weight_groups(self) -> int:
        """G, as each group of channels sees channels of its own."""
        return self.groups

    @property
    def thread_bytes(self) -> int:
        """Bytes of a thread's work arrays, and of the groups of some images."""
        return self.groups * self.part.thread_bytes

    def linear_part(self, V: NDArray[Any], W: NDArray[Any]) -> NDArray[Any]:
        """Return the convolution without its bias; see `Conv2d.linear_part`."""
        pieces = zip(split(V, self.image[2], self.groups), np.split(W, self.groups), strict=True)
        U = np.empty((len(V), self.d_out), V.dtype)
        join(U, [self.part.linear_part(v, w) for v, w in pieces], self.channels)
        return U

    def operator(self, kernels: Any, W: Any) -> GroupedOperator:
        """See `GroupedOperator`."""
        return GroupedOperator(kernels, self.shapes, self.part.shapes, W, self.groups)

    def weight_block(self, device: Device, same_inputs: bool) -> GroupedEquations:
        """See `GroupedEquations`."""
        return GroupedEquations(device, self.part.shapes, self.groups, same_inputs)

    def cross_sum(self, device: Device) -> GroupedCross:
        """See `GroupedCross`."""
        return GroupedCross(device, self.part.shapes, self.groups)

    # -- mini-batches -------------------------------------------------------------------------

    def columns(self, D: Any, rows: slice) -> tuple[Any, range]:
        """Return D, and the output channels that some rows of W make."""
        return D, range(self.channels)[rows]

    def batch_gradient(self, kernels: Any, N: Any, D: Any, V: Any, scale: Any, keep: float) -> None:
        """``N = scale grad_W <D, A(V; W)> + keep N``; D is from `columns`, or (m, d_out)."""
        D, rows = D if isinstance(D, tuple) else (D, range(self.channels))
        by_position, size = D.reshape(-1, self.channels), self.part.channels
        for g, images in enumerate(self._with_ones(V)):
            start, stop = max(rows.start, g * size), min(rows.stop, (g + 1) * size)
            if start < stop:
                own = N[start - rows.start : stop - rows.start]
                columns = by_position[:, start:stop]
                self.part.batch_gradient(kernels, own, columns, images, scale, keep)

    def batch_sketch(
        self, kernels: Any, out: Any, V: Any, Q: Any, projected: Any, scale: float, keep: float
    ) -> Any:
        """``out = scale mean_g Z_g^T Z_g Q + keep out``; returns ``mean_g |Z_g|^2``.

        Z_g has the patches of group g as rows.
        """
        total, share = 0.0, scale / self.groups
        for images in self._with_ones(V):
            total += self.part.batch_sketch(kernels, out, images, Q, projected, share, keep)
            keep = 1.0
        return total / self.groups

    def _with_ones(self, V: Any) -> Any:
        """Return the groups of the images ``V^`` (m, d_in + 1), each with a column of ones."""
        images = np.ones((self.groups, len(V), self.part.d_in + 1), V.dtype)
        images[:, :, :-1] = split(V[:, :-1], self.image[2], self.groups)
        return images

    def gain(self, kernels: Any, W: Any) -> float:
        """Return ``|A|_F / sqrt(d_in)``, the root mean square of the gains of the groups."""
        gains = [self.part.gain(kernels, part) for part in np.split(W, self.groups)]
        return math.sqrt(sum(gain**2 for gain in gains) / self.groups)
