"""Random shifts and mirror images of the samples of a mini-batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.preprocessing import Preprocessing
from fastbcd.devices.protocol import Device
from fastbcd.errors import InputError
from fastbcd.layers.base import Layer
from fastbcd.layers.images import integers
from fastbcd.support.parameters import plain, require

FORMS = "crop:P, flip, or crop:P,flip"


@dataclass(frozen=True)
class Augmentation:
    """``image[y, x, c] -> image[y + dy, x' + dx, c]``, with random dy, dx and x' for each image.

    dy and dx are whole numbers from -P to P, each equally likely. x' is x, or ``width - 1 - x``
    with probability 1/2. A pixel outside the image has the value ``padding[c]``.

    Parameters
    ----------
    text : str
        ``"crop:P"`` for the shifts, ``"flip"`` for the mirror images, or both with a comma.
    image_shape : (height, width, channels) or (height, width), optional
        Default: the shape that the network's first layer takes, if that is a layer of images.
    padding : float or one for each channel, default=0
        Value of a black pixel, as the network gets it. The command line and the estimators set it
        to what their scaling makes of 0.

    Raises
    ------
    InputError
        The text or the shape is not of these forms, or a shift may leave nothing of an image.
    """

    text: str
    image_shape: tuple[int, ...] | None = None
    padding: float | tuple[float, ...] = 0.0
    crop: int = field(init=False, repr=False, default=0)
    flip: bool = field(init=False, repr=False, default=False)

    def __post_init__(self) -> None:
        crop, flip = _parsed(plain(self.text))
        words = ([f"crop:{crop}"] if crop else []) + (["flip"] if flip else [])
        values: dict[str, Any] = {"text": ",".join(words), "crop": crop, "flip": flip}
        if self.image_shape is not None:
            given, form = plain(self.image_shape), "(height, width, channels)"
            if isinstance(given, tuple | list | np.ndarray) and len(given) == 2:
                given = (*given, 1)
            values["image_shape"] = shape = integers(given, 3, "augment: image_shape", form, 1)
            if crop >= min(shape[:2]):
                raise InputError(
                    f"augment: crop:{crop} may leave nothing of an image of {shape[0]} x "
                    f"{shape[1]} pixels; take a smaller number"
                )
            values["padding"] = _for_each_channel(self.padding, shape[2])
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, given: Any, layer: Layer, device: Device) -> Augmentation | None:
        """Return the augmentation for the inputs of the first `layer`; None stays None.

        `given` is an augmentation or its text. `InputError` if the shape of images is unknown or
        differs from that of the layer, or if `device` is no processor.
        """
        given = plain(given)
        if given is None:
            return None
        if device.name == "cuda":
            raise InputError(
                "augment runs on the processor only; give device='cpu', or leave augment at None"
            )
        own = given if isinstance(given, cls) else cls(given)
        shape = getattr(layer, "image", None)
        if own.image_shape is None:
            if shape is None:
                raise InputError(
                    f"augment: {layer} does not know the shape of images; give "
                    f"Augmentation({own.text!r}, image_shape=(height, width, channels))"
                )
            return replace(own, image_shape=shape)
        if shape not in (None, own.image_shape) or math.prod(own.image_shape) != layer.d_in:
            raise InputError(
                f"augment: image_shape is {own.image_shape}, which does not fit the first layer, "
                f"{layer}"
            )
        return own

    @classmethod
    def smallest(cls, layer: Layer) -> Augmentation:
        """Return one for any first layer, which mirrors its images, or rows of one pixel's height.

        It compiles the kernel that every augmentation calls.
        """
        return cls("flip", getattr(layer, "image", None) or (1, layer.d_in, 1))

    def scaled_by(self, inputs: Preprocessing, dtype: np.dtype) -> Augmentation:
        """Return it with the `padding` that `inputs` makes of a pixel 0, in the type `dtype`."""
        assert self.image_shape is not None
        black = inputs(np.zeros((1, math.prod(self.image_shape))), dtype)
        return replace(self, padding=tuple(map(float, black[0, : self.image_shape[2]])))

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[np.int32]:
        """Draw the moves (n, 3) of so many images: dy, dx, and 1 where x is mirrored."""
        moves = np.zeros((n, 3), np.int32)
        if self.crop:
            moves[:, :2] = rng.integers(-self.crop, self.crop, (n, 2), endpoint=True)
        if self.flip:
            moves[:, 2] = rng.integers(0, 1, n, endpoint=True)
        return moves


@dataclass(frozen=True)
class Moves:
    """The moves (m, 3) of the images of a batch, which an augmentation drew."""

    augmentation: Augmentation
    moves: NDArray[np.int32]

    def apply(self, device: Device, images: Any, rows: slice) -> None:
        """Move `images`, which are those of `rows`, in place."""
        shape, padding = self.augmentation.image_shape, np.array(self.augmentation.padding)
        assert shape is not None
        if images.shape[1] != math.prod(shape):  # the kernel would write beyond the images
            raise InputError(
                f"augment: image_shape is {shape}, which does not fit rows of {images.shape[1]}"
            )
        device.kernels.move_images(images, self.moves[rows], shape[0], shape[1], padding)


def scale_padding(solver: Any, inputs: Preprocessing) -> None:
    """Make the padding of `solver`, if it augments images, what `inputs` makes of a pixel 0."""
    augment: Augmentation | None = getattr(solver, "augment", None)
    if augment is not None:
        solver.augment = augment.scaled_by(inputs, solver.dtype)


def _parsed(text: Any) -> tuple[int, bool]:
    """Return the number of ``crop:P``, or 0, and whether there is ``flip``."""
    crop, flip = 0, False
    for word in text.split(",") if isinstance(text, str) else [""]:
        name, _, number = word.partition(":")
        is_number = number.isascii() and number.isdecimal() and len(number) < 10
        if name == "crop" and not crop and is_number and int(number) > 0:
            crop = int(number)
        elif word == "flip" and not flip:
            flip = True
        else:
            raise InputError(f"augment must be {FORMS}, P being at least 1, got {text!r}")
    return crop, flip


def _for_each_channel(padding: Any, channels: int) -> tuple[float, ...]:
    """Return the padding of each channel as a float."""
    padding = plain(padding)
    if not isinstance(padding, tuple | list | np.ndarray):
        padding = (padding,) * channels
    if len(padding) != channels:
        raise InputError(
            f"augment: padding must be one number, or {channels}, one for each channel, got "
            f"{len(padding)}"
        )
    return tuple(require(value, "augment: padding") for value in padding)
