"""The check that each layer takes what the layer below it makes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from fastbcd.errors import InputError
from fastbcd.layers.base import Layer


def check_neighbours(layers: Sequence[Layer]) -> None:
    """`InputError` where a layer does not take what the layer below it makes.

    Sizes of images must be equal, not only their numbers of pixels. A layer without images, such as
    a dense one, may stand below images or above them.
    """
    for l, (below, own) in enumerate(pairwise(layers), start=2):
        made, taken = getattr(below, "image_out", None), getattr(own, "image", None)
        if None not in (made, taken) and made != taken:
            sizes = ("images", taken, made, ", both (height, width, channels)")
        elif below.d_out != own.d_in:
            sizes = ("rows of", own.d_in, below.d_out, "")
        else:
            continue
        what, taken, made, order = sizes
        raise InputError(
            f"layers: number {l}, {own}, takes {what} {taken}, but number {l - 1}, {below}, makes "
            f"{what} {made}{order}"
        )
