"""The operator of a convolution with given weights, and the shapes that it follows from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fastbcd.kernels import Window


@dataclass(frozen=True)
class Shapes:
    """Sizes of a convolution, in pixels: image (H, W, C), all others (vertical, horizontal)."""

    image: tuple[int, int, int]
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @cached_property
    def positions(self) -> tuple[int, int]:
        """``(size + 2 padding - kernel) // stride + 1``: the height and width of the result."""
        sizes = zip(self.image, self.kernel, self.stride, self.padding, strict=False)
        height, width = ((size + 2 * p - k) // s + 1 for size, k, s, p in sizes)
        return height, width

    @property
    def n_positions(self) -> int:
        """The number of patches of an image."""
        return math.prod(self.positions)

    @property
    def patch(self) -> int:
        """The number of elements of a patch."""
        return math.prod(self.kernel) * self.image[2]

    @cached_property
    def window(self) -> Window:
        """The patches of an image."""
        return Window(
            height=self.image[0],
            width=self.image[1],
            channels=self.image[2],
            patch_height=self.kernel[0],
            patch_width=self.kernel[1],
            step_y=self.stride[0],
            step_x=self.stride[1],
            first_y=-self.padding[0],
            first_x=-self.padding[1],
            rows=self.positions[0],
            columns=self.positions[1],
        )

    def _pixels(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (positions, kernel) pixels along an axis, and which of them are in the image."""
        position = np.arange(self.positions[axis]) * self.stride[axis] - self.padding[axis]
        pixel = position[:, None] + np.arange(self.kernel[axis])
        return pixel, (pixel >= 0) & (pixel < self.image[axis])

    def uses(self, axis: int) -> np.ndarray:
        """For each element of the kernel along an axis, at how many positions it is in the image.

        The other positions have a pixel of the padding there.
        """
        return self._pixels(axis)[1].sum(axis=0)

    def groups(self, m: int, itemsize: int, bytes_at_once: int) -> Iterator[slice]:
        """Yield slices of m images whose patches have at most so many bytes, or of one image."""
        size = max(1, bytes_at_once // max(self.n_positions * self.patch * itemsize, 1))
        for start in range(0, m, size):
            yield slice(start, min(start + size, m))


class ConvolutionOperator:
    """``V -> A(V; W)`` for weights W (channels, patch + 1), the bias in the last column."""

    def __init__(self, kernels: Any, shapes: Shapes, weights: Any) -> None:
        self._kernels, self.shapes = kernels, shapes
        self.W, self.bias = weights[:, :-1], weights[:, -1].copy()

    @cached_property
    def _transposed(self) -> Any:
        """W for `convolve_transposed`."""
        return self._kernels.transposed_weights(self.W, self.shapes.window)

    def _by_position(self, U: Any) -> Any:
        """U (m, d_out) with a row for each position of each image."""
        return U.reshape(len(U) * self.shapes.n_positions, self.shapes.channels)

    def apply(self, U: Any, V: Any) -> None:
        """``U = P W^T + bias`` with the patches P of V."""
        self._kernels.convolve(self._by_position(U), V, self.W, self.bias, self.shapes.window)

    def apply_linear(self, U: Any, V: Any) -> None:
        """``U = P W^T``."""
        self._kernels.convolve(self._by_position(U), V, self.W, None, self.shapes.window)

    def adjoint(self, V: Any, R: Any, scale: Any = 1.0, keep: float = 0.0) -> None:
        """``V = scale A*(R; W) + keep V``."""
        self._kernels.convolve_transposed(
            V, R, self._transposed, self.shapes.window, scale, float(keep)
        )

    def squared_norm_bound(self) -> Any:
        """Return ``|A|_1 |A|_inf``, which is at least ``|A|_2^2``, as a number of the device.

        A row of A holds the weights of one output channel. A column holds those that reach a pixel.
        Pixels near the edge have some of them only.
        """
        rows = abs(self.W).sum(axis=1, dtype=np.float64)
        columns = abs(self._transposed).sum(axis=0, dtype=np.float64)
        return rows.max() * columns.max()
