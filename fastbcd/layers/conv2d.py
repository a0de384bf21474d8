"""The convolution of images: ``U = P W^T`` for each position, with the patch P of V there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.protocol import Device
from fastbcd.errors import InputError
from fastbcd.kernels.dense import times
from fastbcd.kernels.patches import PATCH_BYTES
from fastbcd.layers.convolution import ConvolutionOperator, Shapes
from fastbcd.layers.convolution_layer import ConvolutionLayer
from fastbcd.layers.convolution_states import ARRAY_BYTES, ARRAY_COUNT
from fastbcd.layers.images import image_sizes, pair
from fastbcd.layers.patch_equations import PatchCross, PatchEquations
from fastbcd.support.parameters import require_integer

# Images with so many rows are taken for images with the channels first, if their width is their
# number of channels, and that number is large.
CHANNELS_OF_COLOURS, MANY_CHANNELS = (1, 3), 16


@dataclass(frozen=True)
class Conv2d(ConvolutionLayer):
    """A convolution of images that lie in the rows of V, channels last.

    .. code-block:: text

        U[y, x, o] = sum_ijc W[o, i, j, c] V[s y + i - p, s x + j - p, c] + b[o]

    with the stride s and the padding p; pixels outside the image are 0. V is (m, H W C), U
    (m, H' W' channels) with ``H' = (H + 2 p - k) // s + 1``, and W (channels, k k C + 1) has the
    bias b in its last column. A residual layer adds the pixel in the middle of each patch to the
    result; channels beyond those of V get nothing.

    Parameters
    ----------
    image : (H, W, C)
        Height, width and channels of the images in V.
    channels : int
        Channels of the images in U.
    kernel : int or pair of int
        Height and width of the kernel; one number stands for both.
    stride : int or pair of int, default=1
    padding : int or pair of int, default=0
        Rows and columns of zeros on each side.
    steps : int, default=4
        Most steps of descent in a state block; see `ConvolutionStateBlock`.

    Attributes
    ----------
    image_out : (H', W', channels)
    d_in, d_out : int
        ``H W C`` and ``H' W' channels``.

    Raises
    ------
    InputError
        A number is not valid, the kernel is larger than the padded image, or the image seems to
        have its channels first.

    Examples
    --------
    >>> from fastbcd import Problem
    >>> from fastbcd.layers import Conv2d, Dense
    >>> first = Conv2d((28, 28, 1), channels=8, kernel=5, stride=2)
    >>> second = Conv2d(first.image_out, channels=16, kernel=5, stride=2)
    >>> layers = [first, second, Dense(second.d_out, 64), Dense(64, 10)]
    >>> first.image_out, second.image_out
    ((12, 12, 8), (4, 4, 16))
    >>> problem = Problem((784, first.d_out, second.d_out, 64, 10), layers=layers)
    """

    name: ClassVar[str] = "conv2d"
    steps: int = 4

    def __post_init__(self) -> None:
        image = image_sizes(self.image, "Conv2d")
        channels = require_integer(self.channels, "Conv2d: channels", at_least=1)
        kernel = pair(self.kernel, "Conv2d: kernel", at_least=1)
        stride = pair(self.stride, "Conv2d: stride", at_least=1)
        padding = pair(self.padding, "Conv2d: padding", at_least=0)
        steps = require_integer(self.steps, "Conv2d: steps", at_least=1)
        _check_sizes(image, kernel, padding)
        shapes = Shapes(image, channels, kernel, stride, padding)
        sizes = {"kernel": kernel, "stride": stride, "padding": padding}
        self._set(shapes, channels=channels, steps=steps, **sizes)

    @property
    def fan_in(self) -> int:
        """``k k C``."""
        return self.shapes.patch

    @property
    def thread_bytes(self) -> int:
        """Bytes of some patches, of a group's work arrays, and of a tile's sums in float64."""
        columns = self.shapes.patch + 1
        patches = max(PATCH_BYTES, 8 * self.shapes.n_positions * columns)
        arrays = max(ARRAY_BYTES, 8 * max(self.d_in, self.d_out))
        return 3 * patches + ARRAY_COUNT * arrays + 8 * columns * (columns + self.channels)

    def linear_part(self, V: NDArray[Any], W: NDArray[Any]) -> NDArray[Any]:
        """Return the convolution without its bias, as a sum over the elements of the kernel."""
        shapes, m = self.shapes, len(V)
        (height, width), (s_y, s_x), (p_y, p_x) = shapes.positions, shapes.stride, shapes.padding
        images = np.pad(V.reshape(m, *self.image), ((0, 0), (p_y, p_y), (p_x, p_x), (0, 0)))
        weights = W[:, :-1].reshape(self.channels, *shapes.kernel, self.image[2]).astype(V.dtype)
        U = np.zeros((m * shapes.n_positions, self.channels), V.dtype)
        for i, j in np.ndindex(*shapes.kernel):
            pixels = images[:, i : i + s_y * height : s_y, j : j + s_x * width : s_x]
            U += times(pixels.reshape(len(U), -1), weights[:, i, j].T)
        return U.reshape(m, self.d_out)

    def operator(self, kernels: Any, W: Any) -> ConvolutionOperator:
        """See `ConvolutionOperator`."""
        return ConvolutionOperator(kernels, self.shapes, W)

    def weight_block(self, device: Device, same_inputs: bool) -> PatchEquations:
        """See `PatchEquations`."""
        return PatchEquations(device, self.shapes, same_inputs)

    def cross_sum(self, device: Device) -> PatchCross:
        """See `PatchCross`."""
        return PatchCross(device, self.shapes)

    def columns(self, D: Any, rows: slice) -> Any:
        """Return (m H' W', n): some channels of D, with a row for each position."""
        return D.reshape(-1, self.channels)[:, rows]

    def batch_gradient(self, kernels: Any, N: Any, D: Any, V: Any, scale: Any, keep: float) -> None:
        """``N = scale sum_p D_p^T P^_p + keep N``; D is from `columns`, or (m, d_out)."""
        D = D.reshape(len(V) * self.shapes.n_positions, -1)
        kernels.convolution_gradient(N, D, V[:, :-1], self.shapes.window, scale, float(keep))

    def batch_sketch(
        self, kernels: Any, out: Any, V: Any, Q: Any, projected: Any, scale: float, keep: float
    ) -> Any:
        """See `fastbcd.kernels.patch_sketch`."""
        return kernels.patch_sketch(out, V[:, :-1], Q, self.shapes.window, scale, keep)

    def gain(self, kernels: Any, W: Any) -> float:
        """Return ``|A|_F / sqrt(d_in)``: each weight counts where it meets a pixel."""
        squares = np.square(W[:, :-1], dtype=np.float64).sum(axis=0)
        uses = np.outer(self.shapes.uses(0), self.shapes.uses(1))
        # The few numbers may be on a GPU.
        by_element = squares.reshape(*self.shapes.kernel, self.image[2]).sum(axis=2).tolist()
        return math.sqrt(float((uses * np.array(by_element)).sum()) / self.d_in)


def _check_sizes(image: tuple[int, ...], kernel: tuple[int, int], padding: tuple[int, int]) -> None:
    """`InputError` for a kernel that does not fit, and for images with their channels first."""
    height, width, channels = image
    if height in CHANNELS_OF_COLOURS and width == channels >= MANY_CHANNELS and kernel[0] > 1:
        raise InputError(
            f"Conv2d: image {image} seems to have its channels first; give (height, width, "
            f"channels), such as ({width}, {channels}, {height})"
        )
    padded = (height + 2 * padding[0], width + 2 * padding[1])
    if kernel[0] > padded[0] or kernel[1] > padded[1]:
        raise InputError(
            f"Conv2d: a kernel of {kernel[0]} x {kernel[1]} is larger than an image of {height} x "
            f"{width} with padding {padding[0]} x {padding[1]}"
        )
