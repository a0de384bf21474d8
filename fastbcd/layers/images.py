"""The base of layers of images, which lie in the rows of V and U with their channels last."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbcd.errors import InputError
from fastbcd.layers.base import Layer
from fastbcd.layers.convolution import Shapes
from fastbcd.layers.skip import Skip, skip_of
from fastbcd.support.parameters import plain, require_integer


def integers(given: Any, n: int, argument: str, form: str, at_least: int) -> tuple[int, ...]:
    """Return n integers; else an `InputError` that says which `form` the `argument` must have."""
    values = plain(given)
    if not isinstance(values, tuple | list | np.ndarray) or len(values) != n:
        raise InputError(f"{argument} must be {form}, got {given!r}")
    return tuple(require_integer(v, argument, at_least=at_least) for v in values)


def image_sizes(given: Any, kind: str) -> tuple[int, int, int]:
    """Return (height, width, channels) of the images of a layer of this `kind`."""
    form = "(height, width, channels)"
    height, width, channels = integers(given, 3, f"{kind}: image", form, at_least=1)
    return height, width, channels


def pair(given: Any, argument: str, at_least: int) -> tuple[int, int]:
    """Return an integer twice, or a pair of integers."""
    if not isinstance(plain(given), tuple | list | np.ndarray):
        number = require_integer(given, argument, at_least=at_least)
        return number, number
    vertical, horizontal = integers(given, 2, argument, "a number or a pair", at_least)
    return vertical, horizontal


@dataclass(frozen=True)
class ImageLayer(Layer):
    """The sizes of a layer of images, with or without weights, and what follows from them."""

    image: tuple[int, int, int]
    d_in: int = field(init=False, repr=False, compare=False)
    d_out: int = field(init=False, repr=False, compare=False)
    image_out: tuple[int, int, int] = field(init=False, repr=False, compare=False)
    shapes: Shapes = field(init=False, repr=False, compare=False)

    def _set(self, shapes: Shapes, **fields: Any) -> None:
        """Set `fields` of this frozen record, and the sizes that follow from `shapes`."""
        image_out = (*shapes.positions, shapes.channels)
        sizes = {"image": shapes.image, "image_out": image_out, "shapes": shapes}
        sizes |= {"d_in": math.prod(shapes.image), "d_out": math.prod(image_out)}
        for name, value in (fields | sizes).items():
            object.__setattr__(self, name, value)

    @property
    def skip(self) -> Skip:
        """See `skip_of`."""
        return skip_of(self.shapes)
