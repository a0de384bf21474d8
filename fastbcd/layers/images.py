"""Sizes of layers of images, which lie in the rows of V and U with their channels last."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.errors import InputError
from fastbcd.layers.base import Layer
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


def check_images(layer: Any, below: Layer | None) -> None:
    """`InputError` where the layer `below` makes images of other sizes than `layer` takes."""
    made = getattr(below, "image_out", layer.image)
    if made != layer.image:
        raise InputError(
            f"layers: {layer} takes images {layer.image}, but the layer below makes images "
            f"{made}, both (height, width, channels)"
        )
