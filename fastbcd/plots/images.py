"""Pictures for networks of images: filters of the first layer, and images that were missed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbcd.data.label_values import faithful
from fastbcd.errors import InputError
from fastbcd.layers import Conv2d
from fastbcd.plots.style import axes_or_new, style
from fastbcd.plots.text import literal
from fastbcd.support.floating_point import own_errstate
from fastbcd.support.parameters import require_integer

# Channels of an image that can be drawn: grey, or red, green and blue.
DRAWN = (1, 3)
# Inches of a tile, and of a tile with a line of text above it.
TILE, TITLED_TILE = 0.6, 0.9


@own_errstate
def plot_filters(network: Any, ax: Any = None) -> Any:
    """Draw the filters ``W[o, i, j, c]`` of a convolution, the first layer; return the Axes.

    Each filter is divided by its largest absolute value. With one channel 0 is white, positive
    weights are red and negative ones blue. With three channels 0 is grey, and the channels are red,
    green and blue.

    Parameters
    ----------
    network : Network or Model
        Its first layer is a `Conv2d` with 1 or 3 channels below it.
    ax : matplotlib Axes, optional
        Default: Axes of a new figure of pyplot.

    Raises
    ------
    InputError
        The first layer is of another type or has other channels, or matplotlib is not installed.
    """
    network = getattr(network, "network", network)
    layer = network.layers[0]
    if not isinstance(layer, Conv2d):
        raise InputError(
            f"network: filters are drawn of a Conv2d, but the first layer is a "
            f"{type(layer).__name__}"
        )
    channels = layer.image[2]
    if channels not in DRAWN:
        raise InputError(
            f"network: the first layer sees images of {channels} channels, and only those of 1 or "
            "3 can be drawn"
        )
    height, width = layer.shapes.kernel
    filters = network.W[0][:, :-1].astype(np.float64).reshape(-1, height, width, channels)
    largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    filters = filters / np.where(largest > 0.0, largest, 1.0)
    with style():
        columns, rows = _grid_of(len(filters))
        ax = axes_or_new(ax, TILE * columns, TILE * rows + 0.5)
        if channels == 1:
            ax.imshow(_tiled(filters, columns, np.nan)[..., 0], cmap="RdBu_r", vmin=-1.0, vmax=1.0)
        else:
            ax.imshow(_tiled(0.5 + 0.5 * filters, columns, 1.0))
        ax.set_axis_off()
        ax.set_title(f"{len(filters)} filters of {height} x {width}", loc="left")
    return ax


@own_errstate
def plot_missed(
    images: ArrayLike,
    labels: ArrayLike,
    predicted: ArrayLike,
    image_shape: tuple[int, ...],
    probabilities: ArrayLike | None = None,
    most: int = 20,
    figure: Any = None,
) -> Any:
    """Draw images whose predicted class is wrong, as ``true > predicted``; return the figure.

    The images come in the order of `probabilities`, those that the network was surest of first.

    Parameters
    ----------
    images : (n, d) array, or (n, *image_shape)
        Pixels in any unit; black is the smallest of all images, and white the largest.
    labels, predicted : (n,) array
        Known and predicted classes.
    image_shape : (height, width) or (height, width, channels)
        With 1 or 3 channels, which come last.
    probabilities : (n,) or (n, k) array, optional
        The probability of the predicted class, or those of all classes. Default: the images keep
        their order.
    most : int, default=20
        So many images at most.
    figure : matplotlib Figure, optional
        Default: a new figure of pyplot.

    Raises
    ------
    InputError
        The arrays do not fit one another or the shape, no image was missed, or matplotlib is not
        installed.
    """
    most = require_integer(most, "most", at_least=1)
    pixels = _pixels(images, image_shape)
    labels, predicted = faithful(labels, "labels"), faithful(predicted, "predicted")
    for name, values in (("labels", labels), ("predicted", predicted)):
        if values.shape != (len(pixels),):
            raise InputError(
                f"{name}: one for each of the {len(pixels)} images is needed, got the shape "
                f"{values.shape}"
            )
    missed = np.flatnonzero(labels != predicted)
    if len(missed) == 0:
        raise InputError(f"predicted: all {len(pixels)} images have the right class")
    if probabilities is not None:
        sure = np.asarray(probabilities, np.float64)
        if sure.shape[:1] != (len(pixels),) or sure.ndim not in (1, 2):
            raise InputError(
                f"probabilities: a row for each of the {len(pixels)} images is needed, got the "
                f"shape {sure.shape}"
            )
        sure = sure if sure.ndim == 1 else sure.max(axis=1)
        missed = missed[np.argsort(-sure[missed], kind="stable")]
    shown = missed[:most]
    with style():
        columns, rows = _grid_of(len(shown))
        if figure is None:
            from matplotlib import pyplot

            size = TITLED_TILE * columns, TITLED_TILE * rows + 0.5
            figure = pyplot.figure(figsize=size, layout="constrained")
        low, high = float(pixels.min()), float(pixels.max())
        scaled = (pixels[shown] - low) / max(high - low, np.finfo(np.float64).tiny)
        places = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, image, k in zip(places, scaled, shown, strict=False):
            ax.imshow(image[..., 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=1)
            ax.set_title(f"{literal(labels[k])} > {literal(predicted[k])}", fontsize=8)
        for ax in places:
            ax.set_axis_off()
        figure.suptitle(f"{len(missed)} of {len(pixels)} images missed, true > predicted")
    return figure


def _pixels(images: ArrayLike, image_shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return images (n, height, width, channels) in float64."""
    shape = tuple(require_integer(size, "image_shape", at_least=1) for size in image_shape)
    shape = (*shape, 1) if len(shape) == 2 else shape
    if len(shape) != 3 or shape[2] not in DRAWN:
        raise InputError(
            "image_shape must be (height, width), or (height, width, channels) with 1 or 3 "
            f"channels, got {tuple(image_shape)}"
        )
    pixels = np.asarray(images, np.float64)
    if pixels.ndim == 0 or pixels.size != len(pixels) * math.prod(shape) or len(pixels) == 0:
        raise InputError(
            f"images: an array of shape {pixels.shape} holds no images of {shape[0]} x {shape[1]} "
            f"with {shape[2]} channels"
        )
    return pixels.reshape(-1, *shape)


def _grid_of(n: int) -> tuple[int, int]:
    """Return the columns and rows of a grid of n tiles, a little wider than high."""
    columns = math.ceil(math.sqrt(1.5 * n))
    return columns, -(-n // columns)


def _tiled(images: NDArray[np.float64], columns: int, between: float) -> NDArray[np.float64]:
    """Return one image of all `images` (n, height, width, channels), with lines of `between`."""
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    shape = rows * (height + 1) - 1, columns * (width + 1) - 1, channels
    whole = np.full(shape, between)
    for k, image in enumerate(images):
        top, left = (height + 1) * (k // columns), (width + 1) * (k % columns)
        whole[top : top + height, left : left + width] = image
    return whole
