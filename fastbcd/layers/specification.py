"""Networks of several layer types as text, and layers as settings in a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from fastbcd.errors import InputError
from fastbcd.layers.base import Layer
from fastbcd.layers.conv2d import Conv2d
from fastbcd.layers.dense import Dense
from fastbcd.layers.pooling import AveragePool2d, MaxPool2d
from fastbcd.support.parameters import plain
from fastbcd.support.stored import check_state_dict

Shape = tuple[int, ...]

FORMS = "conv:CHANNELS:KERNEL[:STRIDE[:PADDING]], maxpool:WINDOW, averagepool:WINDOW, dense:WIDTH"

STORED: dict[str, type[Layer]] = {
    layer.name: layer for layer in (Dense, Conv2d, AveragePool2d, MaxPool2d)
}
"""The types that a file can name."""


def build_layers(
    specification: str | Sequence[str], image_shape: Shape, n_outputs: int
) -> list[Layer]:
    """Return the layers that a text names, and a dense one to the outputs.

    .. code-block:: text

        conv:CHANNELS:KERNEL[:STRIDE[:PADDING]]   Conv2d; stride 1 and padding 0 by default
        maxpool:WINDOW                            MaxPool2d
        averagepool:WINDOW                        AveragePool2d; WINDOW may be "global"
        dense:WIDTH                               Dense, which takes an image as one row

    KERNEL, STRIDE, PADDING and WINDOW are one number, or two as HEIGHTxWIDTH.

    Parameters
    ----------
    specification : str or sequence of str
        Texts as above, or one text with commas between them.
    image_shape : (H, W, C), (H, W) or (d,)
        Shape of one input; (H, W) has one channel.
    n_outputs : int

    Raises
    ------
    InputError
        The message names the layer by its number and text, and the shapes that do not fit.

    Examples
    --------
    >>> for layer in build_layers("conv:8:5,maxpool:2,dense:64", (28, 28, 1), 10):
    ...     print(layer.name, layer.d_in, layer.d_out)
    conv2d 784 4608
    max_pool2d 4608 1152
    dense 1152 64
    dense 64 10
    """
    shape: Shape = tuple(image_shape)
    if len(shape) == 2:
        shape = (*shape, 1)
    layers: list[Layer] = []
    for number, text in enumerate(_texts(specification), start=1):
        try:
            layer = _layer(text, shape)
        except InputError as error:
            raise InputError(f"layers: number {number}, {text!r}: {error}") from None
        layers.append(layer)
        shape = getattr(layer, "image_out", (layer.d_out,))
    return [*layers, Dense(math.prod(shape), n_outputs)]


def settings_of(layer: Layer) -> dict[str, Any]:
    """Return what a file holds of `layer`, which `layer_of` turns into the layer again.

    Raises
    ------
    InputError
        A type of the user's own, whose code a file does not hold.
    """
    if STORED.get(layer.name) is not type(layer):
        raise InputError(
            f"layers: {layer.name} is not one of this package's types, and a file holds no code; "
            f"those it can name: {', '.join(STORED)}"
        )
    return {"type": layer.name, **{name: getattr(layer, name) for name in layer.stored}}


def layer_of(settings: dict[str, Any]) -> Layer:
    """Return the layer whose `settings_of` these are; `InputError` names what is wrong."""
    name = settings.get("type")
    if name not in STORED:
        raise InputError(f"layers: type {name!r} is unknown; known: {', '.join(STORED)}")
    kind = STORED[name]
    given = {key: value for key, value in settings.items() if key != "type"}
    check_state_dict(given, dict.fromkeys(kind.stored), f"layers: {name}")
    return kind(**given)


def _texts(specification: str | Sequence[str]) -> list[str]:
    given = plain(specification)
    if isinstance(given, str):
        given = given.split(",")
    if not isinstance(given, Sequence) or not all(isinstance(text, str) for text in given):
        raise InputError(f"layers must be texts such as {FORMS}, got {specification!r}")
    return [text.strip() for text in given]


def _layer(text: str, shape: Shape) -> Layer:
    """Build one layer on inputs of `shape`."""
    name, *arguments = text.split(":")
    if name not in BUILDERS:
        raise InputError(f"there is no {name!r}; the layers are {FORMS}")
    fewest, most, is_flat, build = BUILDERS[name]
    if not fewest <= len(arguments) <= most:
        raise InputError(f"it has {len(arguments)} arguments; the form is {_form(name)}")
    if len(shape) != 3 and not is_flat:
        raise InputError(
            f"it needs images of height, width and channels, but gets a row of {shape[0]} numbers"
        )
    return build(shape, *(_sizes(argument) for argument in arguments))


def _form(name: str) -> str:
    return next(form for form in FORMS.split(", ") if form.startswith(name))


def _sizes(text: str) -> int | tuple[int, int] | str:
    """Return a number, a pair from HEIGHTxWIDTH, or a word as it is."""
    if text == "global":
        return text
    parts = text.split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise InputError(f"{text!r} is neither a number nor HEIGHTxWIDTH")
    numbers = [int(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _conv(shape: Shape, channels: Any, kernel: Any, stride: Any = 1, padding: Any = 0) -> Layer:
    height, width, depth = shape
    return Conv2d((height, width, depth), channels, kernel, stride, padding)


def _max_pool(shape: Shape, window: Any) -> Layer:
    height, width, depth = shape
    return MaxPool2d((height, width, depth), window)


def _average_pool(shape: Shape, window: Any) -> Layer:
    height, width, depth = shape
    return AveragePool2d((height, width, depth), window)


def _dense(shape: Shape, width: Any) -> Layer:
    if not isinstance(width, int) or width < 1:
        raise InputError(f"a width must be a number of at least 1, got {width!r}")
    return Dense(math.prod(shape), width)


Builder = Callable[..., Layer]
BUILDERS: dict[str, tuple[int, int, bool, Builder]] = {
    "conv": (2, 4, False, _conv),
    "maxpool": (1, 1, False, _max_pool),
    "averagepool": (1, 1, False, _average_pool),
    "dense": (1, 1, True, _dense),
}
"""For each name: fewest and most arguments, whether inputs may be flat, and the function."""
