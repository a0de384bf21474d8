"""Pooling of images: the mean, or the maximum, of each window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.errors import InputError
from fastbcd.kernels import Penalty
from fastbcd.layers.base import Layer, StateBlock
from fastbcd.layers.convolution import Shapes
from fastbcd.layers.images import ImageLayer, image_sizes, pair
from fastbcd.layers.no_weights import NoCrossSum, NoWeights
from fastbcd.layers.pooling_states import (
    MaximumOperator,
    MaximumStateBlock,
    MeanOperator,
    MeanStateBlock,
)
from fastbcd.support.parameters import plain


@dataclass(frozen=True)
class Pool2d(ImageLayer):
    """The common part of both types: sizes, and what follows from the lack of weights."""

    has_activation: ClassVar[bool] = False
    operator: ClassVar[type[Any]]
    """The type of the operator."""
    block: ClassVar[type[Any]]
    """The type of the V-block below the layer."""
    window: int | tuple[int, int] | str = 2

    def __post_init__(self) -> None:
        kind = type(self).__name__
        image = image_sizes(self.image, kind)
        window = pair(self._own_window(image), f"{kind}: window", at_least=1)
        if image[0] % window[0] or image[1] % window[1]:
            raise InputError(
                f"{kind}: windows of {window[0]} x {window[1]} do not fill an image of "
                f"{image[0]} x {image[1]}; choose a window whose sides divide those of the image"
            )
        self._set(Shapes(image, image[2], window, window, (0, 0)), window=window)

    def _own_window(self, image: tuple[int, int, int]) -> Any:
        """Return the window that the user gave."""
        return self.window

    @property
    def weight_shape(self) -> tuple[int, int]:
        """``(0, 0)``."""
        return 0, 0

    @property
    def fan_in(self) -> int:
        """The number q of elements of a window."""
        return self.d_in // self.d_out

    @property
    def multiplications(self) -> int:
        """``d_in``: the additions or comparisons, there being no multiplications."""
        return self.d_in

    def resized(self, d_in: int, d_out: int) -> Layer:
        """Return a layer of this type with windows of ``d_in / d_out`` numbers."""
        return type(self)((1, d_in // d_out, d_out), (1, d_in // d_out))

    def _windows(self, V: NDArray[Any]) -> NDArray[Any]:
        """Return V as (m, H', height of a window, W', width of a window, C)."""
        (rows, columns), (height, width) = self.shapes.positions, self.shapes.kernel
        return V.reshape(len(V), rows, height, columns, width, self.image[2])

    def on(self, device: Device, W: Any) -> Any:
        """Return the `operator` of these windows."""
        return self.operator(device.kernels, self.shapes.window)

    def state_block(
        self,
        device: Device,
        W: Any,
        penalty: Penalty,
        kappa: Any,
        rho: Any,
        measured: bool = False,
    ) -> StateBlock:
        """Return the `block` of these windows."""
        return self.block(device, self.on(device, W), penalty, kappa, rho, self.d_in)

    def weight_block(self, device: Device, same_inputs: bool) -> NoWeights:
        """See `NoWeights`."""
        return NoWeights()

    def cross_sum(self, device: Device) -> NoCrossSum:
        """See `NoCrossSum`."""
        return NoCrossSum(device)

    def batch_gradient(self, kernels: Any, N: Any, D: Any, V: Any, scale: Any, keep: float) -> None:
        """Do nothing."""


class AveragePool2d(Pool2d):
    """The mean of each window of the images in the rows of V, channels last.

    .. code-block:: text

        U[y, x, c] = mean_ij V[h y + i, w x + j, c],   i < h, j < w

    Windows of h x w do not overlap, and fill the image. The layer has no weights. Its activation is
    linear, whatever that of the other layers is. The V-block below it is exact for every penalty;
    see docs/mathematics.md.

    Parameters
    ----------
    image : (H, W, C)
        Height, width and channels of the images in V.
    window : int, pair of int, or "global", default=2
        Height and width of the windows; one number stands for both, "global" for the whole image.

    Attributes
    ----------
    image_out : (H / h, W / w, C)
    d_in, d_out : int
        The numbers of elements of both images.

    Raises
    ------
    InputError
        A number is not valid, or the windows do not fill the image.

    Examples
    --------
    >>> from fastbcd import Problem
    >>> from fastbcd.layers import AveragePool2d, Conv2d, Dense, MaxPool2d
    >>> first = Conv2d((28, 28, 1), channels=8, kernel=5)
    >>> pool = MaxPool2d(first.image_out, window=2)
    >>> second = Conv2d(pool.image_out, channels=16, kernel=5)
    >>> mean = AveragePool2d(second.image_out, window="global")
    >>> pool.image_out, mean.image_out
    ((12, 12, 8), (1, 1, 16))
    >>> layers = [first, pool, second, mean, Dense(mean.d_out, 10)]
    >>> widths = (784, first.d_out, pool.d_out, second.d_out, mean.d_out, 10)
    >>> problem = Problem(widths, "relu", layers=layers)
    >>> [activation.name for activation in problem.activations]
    ['relu', 'linear', 'relu', 'linear', 'linear']
    """

    name: ClassVar[str] = "average_pool2d"
    operator, block = MeanOperator, MeanStateBlock

    def _own_window(self, image: tuple[int, int, int]) -> Any:
        """Return the window that the user gave; the size of the image for "global"."""
        if isinstance(plain(self.window), str):
            if self.window != "global":
                raise InputError(
                    'AveragePool2d: window must be a number, a pair or "global", '
                    f"got {self.window!r}"
                )
            return image[:2]
        return self.window

    def linear_part(self, V: NDArray[Any], W: NDArray[Any]) -> NDArray[Any]:
        """Return the means by NumPy."""
        return self._windows(V).mean(axis=(2, 4)).reshape(len(V), self.d_out)

    def batch_apply(self, kernels: Any, U: Any, V: Any, W: Any) -> None:
        """``U = mean of the windows of V``."""
        kernels.mean_of_windows(U, V, self.shapes.window)

    def batch_adjoint(
        self, kernels: Any, D: Any, R: Any, V: Any, W: Any, scale: Any, keep: float
    ) -> None:
        """``D = scale A*(R) + keep D``: each number of a window gets ``R / q``."""
        kernels.spread_means(D, R, self.shapes.window, scale, float(keep))

    def gain(self, kernels: Any, W: Any) -> float:
        """Return ``1 / q``: q numbers get a q-th of each number of D."""
        return self.d_out / self.d_in


class MaxPool2d(Pool2d):
    """The maximum of each window of the images in the rows of V, channels last.

    .. code-block:: text

        U[y, x, c] = max_ij V[h y + i, w x + j, c],   i < h, j < w

    Windows of h x w do not overlap, and fill the image. The layer has no weights. Its activation is
    linear, whatever that of the other layers is. The V-block below it is not convex. It takes a
    global minimiser, with a proximal term; see docs/mathematics.md.

    Parameters
    ----------
    image : (H, W, C)
        Height, width and channels of the images in V.
    window : int or pair of int, default=2
        Height and width of the windows; one number stands for both.

    Attributes
    ----------
    image_out : (H / h, W / w, C)
    d_in, d_out : int
        The numbers of elements of both images.

    Raises
    ------
    InputError
        A number is not valid, or the windows do not fill the image.

    See Also
    --------
    AveragePool2d : its examples show a network with both.
    """

    name: ClassVar[str] = "max_pool2d"
    is_linear: ClassVar[bool] = False
    operator, block = MaximumOperator, MaximumStateBlock

    def linear_part(self, V: NDArray[Any], W: NDArray[Any]) -> NDArray[Any]:
        """Return the maxima by NumPy; the layer has no bias that could be left out."""
        return self._windows(V).max(axis=(2, 4)).reshape(len(V), self.d_out)

    def squared_subgradient(
        self,
        device: Device,
        tile: Tile,
        operator: Any,
        penalty: Penalty,
        V: Any,
        G: Any,
        R: Any,
        *sample_weight: Any,
    ) -> Any:
        """See `fastbcd.kernels.subgradient_below_maximum`."""
        window = self.shapes.window
        return device.kernels.subgradient_below_maximum(penalty, V, G, R, window, *sample_weight)

    def batch_apply(self, kernels: Any, U: Any, V: Any, W: Any) -> None:
        """``U = maximum of the windows of V``."""
        kernels.maximum_of_windows(U, V, self.shapes.window)

    def batch_adjoint(
        self, kernels: Any, D: Any, R: Any, V: Any, W: Any, scale: Any, keep: float
    ) -> None:
        """``D = scale B R + keep D``: the first maximum of each window of V gets all of R."""
        kernels.spread_maxima(D, R, V, self.shapes.window, scale, float(keep))

    def gain(self, kernels: Any, W: Any) -> float:
        """Return ``1 / sqrt(q)``: one of q numbers gets each number of D."""
        return math.sqrt(self.d_out / self.d_in)
