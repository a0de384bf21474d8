"""Layers as texts, such as ``"conv:16:5,dense:128"``, and as settings in a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastbcd.errors import InputError
from fastbcd.layers.base import Layer
from fastbcd.layers.conv2d import Conv2d
from fastbcd.layers.dense import Dense
from fastbcd.layers.grouped_conv2d import GroupedConv2d
from fastbcd.layers.pooling import AveragePool2d, MaxPool2d
from fastbcd.support.parameters import plain, require_integer
from fastbcd.support.stored import VERSION, check_state_dict

Shape = tuple[int, ...]
Specification = str | Sequence[str]


@dataclass(frozen=True)
class Form:
    """A word of a specification.

    Parameters
    ----------
    text : str
        The word and its arguments in capitals, those in brackets being optional.
    layer : callable
        Returns the layer for ``(image, *arguments)``, or ``(d_in, *arguments)`` if not of images.
    of_images : bool, default=True
        Whether it takes images; other layers take the rows of any inputs.
    """

    text: str
    layer: Callable[..., Layer]
    of_images: bool = True

    def build(self, shape: Shape, arguments: list[str]) -> Layer:
        """Return the layer for inputs of `shape`, (H, W, C) or (d,); else an `InputError`."""
        least, most = self.text.partition("[")[0].count(":"), self.text.count(":")
        if not least <= len(arguments) <= most:
            number = "1 argument" if len(arguments) == 1 else f"{len(arguments)} arguments"
            raise InputError(f"it has {number}, but the form is {self.text}")
        inputs = shape if self.of_images else math.prod(shape)
        return self.layer(inputs, *(self._size(argument) for argument in arguments))

    def _size(self, text: str) -> int | tuple[int, ...] | str:
        """Return a number, a pair from HEIGHTxWIDTH, or a word as it is."""
        parts = text.split("x")
        if text in WORDS:
            return text
        if len(parts) > 2 or not all(part.isascii() and part.isdecimal() for part in parts):
            raise InputError(f"{text!r} is no size; the form is {self.text}")
        numbers = tuple(map(int, parts))
        return numbers[0] if len(numbers) == 1 else numbers


def _conv(
    image: Any, channels: Any, kernel: Any, stride: Any = 1, padding: Any = 0, groups: Any = 1
) -> Layer:
    if groups == 1:
        return Conv2d(image, channels, kernel, stride, padding)
    return GroupedConv2d(image, channels, kernel, stride, padding, groups)


def _dense(d_in: int, width: Any) -> Dense:
    return Dense(d_in, require_integer(width, "its width", at_least=1))


# The words of a specification; a new type of layer is a line here and one in STORED.
FORMS = {
    "conv": Form("conv:CHANNELS:KERNEL[:STRIDE[:PADDING[:GROUPS]]]", _conv),
    "maxpool": Form("maxpool:WINDOW", MaxPool2d),
    "averagepool": Form("averagepool:WINDOW|global", AveragePool2d),
    "dense": Form("dense:WIDTH", _dense, of_images=False),
}
# The types that a file can name, and the arguments of their constructors, which it holds.
OF_CONVOLUTIONS = ("image", "channels", "kernel", "stride", "padding")
STORED: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "conv2d": (Conv2d, (*OF_CONVOLUTIONS, "steps")),
    "grouped_conv2d": (GroupedConv2d, (*OF_CONVOLUTIONS, "groups", "steps")),
    "average_pool2d": (AveragePool2d, ("image", "window")),
    "max_pool2d": (MaxPool2d, ("image", "window")),
    "dense": (Dense, ("d_in", "d_out")),
}
STORED_VERSION = 1
# Sizes that are no numbers.
WORDS = ("global",)


def forms() -> str:
    """Return the forms of all words, for messages and help."""
    return ", ".join(form.text for form in FORMS.values())


def build_layers(specification: Specification, shape: Sequence[int], n_outputs: int) -> list[Layer]:
    """Return the layers that a text names, and a dense one that leads to the outputs.

    .. code-block:: text

        conv:CHANNELS:KERNEL[:STRIDE[:PADDING[:GROUPS]]]   Conv2d, or GroupedConv2d
        maxpool:WINDOW                                     MaxPool2d
        averagepool:WINDOW                                 AveragePool2d; may be "global"
        dense:WIDTH                                        Dense; an image is one row

    KERNEL, STRIDE, PADDING and WINDOW are one number, or two as HEIGHTxWIDTH.

    Parameters
    ----------
    specification : str or sequence of str
        Such texts, or one text with commas between them.
    shape : (H, W, C), (H, W) or (d,)
        Shape of one input; (H, W) is an image with one channel.
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
    inputs: Shape = (*shape, 1) if len(shape) == 2 else tuple(shape)
    if len(inputs) not in (1, 3):
        raise InputError(f"layers take images (H, W, C), (H, W) or rows (d,), got shape {inputs}")
    layers: list[Layer] = []
    for number, text in enumerate(_texts(specification), start=1):
        try:
            layer = _layer(text, inputs, layers)
        except InputError as error:
            raise InputError(f"layers: number {number}, {text!r}: {error}") from None
        layers.append(layer)
        inputs = getattr(layer, "image_out", (layer.d_out,))
    return [*layers, Dense(math.prod(inputs), n_outputs)]


def needs_images(specification: Specification) -> bool:
    """Return whether a layer of the specification takes images; unknown words do not."""
    names = (text.partition(":")[0] for text in _texts(specification))
    return any(name in FORMS and FORMS[name].of_images for name in names)


def settings_of(layer: Layer) -> dict[str, Any]:
    """Return what a file holds of `layer`: its type, a version, and its settings.

    Raises
    ------
    InputError
        The type is not one of this package, so that a file cannot name it.
    """
    kind, keys = STORED.get(layer.name, (None, ()))
    if type(layer) is not kind:
        raise InputError(
            f"layers: {layer.name} is not one of this package's types, and a file holds no code; "
            f"those it can name: {', '.join(STORED)}"
        )
    return {"type": layer.name, VERSION: STORED_VERSION, **{k: getattr(layer, k) for k in keys}}


def layer_of(settings: dict[str, Any]) -> Layer:
    """Return the layer whose `settings_of` these are.

    Raises
    ------
    InputError
        The type is unknown, or a setting is missing, unknown or wrong; the message names it.
    """
    name = settings.get("type") if isinstance(settings, dict) else settings
    if not isinstance(name, str) or name not in STORED:
        raise InputError(f"layers: type {name!r} is unknown; known: {', '.join(STORED)}")
    kind, keys = STORED[name]
    expected = {"type": name, VERSION: STORED_VERSION, **dict.fromkeys(keys)}
    check_state_dict(settings, expected, f"layers: {name}")
    layer: Layer = kind(**{key: settings[key] for key in keys})
    return layer


def _texts(specification: Any) -> list[str]:
    given = plain(specification)
    if isinstance(given, str):
        given = given.split(",")
    if not isinstance(given, Sequence) or not all(isinstance(text, str) for text in given):
        raise InputError(f"layers must be texts of the forms {forms()}, got {specification!r}")
    return [str(text).strip() for text in given]


def _layer(text: str, shape: Shape, below: list[Layer]) -> Layer:
    name, *arguments = text.split(":")
    if name not in FORMS:
        raise InputError(f"unknown name {name!r}; the forms are {forms()}")
    if FORMS[name].of_images and len(shape) != 3:
        remedy = "put it before the dense layers" if below else "give the shape of the images"
        raise InputError(
            f"it takes images (height, width, channels), but its inputs are rows of {shape[0]} "
            f"numbers; {remedy}"
        )
    return FORMS[name].build(shape, arguments)
