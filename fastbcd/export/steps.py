"""The layers of a network in turn, with the changes of order that their states need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastbcd.export.operators import OPERATORS, Order
from fastbcd.export.piece import Array, Piece
from fastbcd.kernels import Formula
from fastbcd.layers import Layer, Skip
from fastbcd.models.network import Network


@dataclass(frozen=True)
class Step:
    """``act(operator(x))`` with ``x = before(V)``, plus ``skip(x)`` if the layer is residual.

    `before` changes the order of states only.
    """

    layer: Layer
    before: list[Piece]
    operator: Piece
    activation: Formula
    skip: Skip | None


def image_of(layer: Layer) -> Order:
    """Return the size of the images that a layer takes; None if it takes rows."""
    return getattr(layer, "image", None)


def change(old: Order, new: Order) -> list[Piece]:
    """Return the layers that bring states from one order into another."""
    if old == new:
        return []
    rows = [] if old is None else [Piece("ChannelsLast")]
    return rows if new is None else [*rows, Piece("ChannelsFirst", new)]


def axes_of(skip: Skip) -> list[tuple[slice, tuple[int, int]]]:
    """For each axis of x: what S keeps, and how many zeros it puts before and behind that.

    The channels of images come first.
    """
    columns = zip(skip.axes_in, skip.axes_out, skip.sizes_out, strict=True)
    axes = [(kept, (placed.start, size - placed.stop)) for kept, placed, size in columns]
    return [axes[-1], *axes[:-1]]


def steps(network: Network, W: Sequence[Array], order: Order) -> tuple[list[Step], Order]:
    """Return a step for each layer with the weights W, and the order of the outputs.

    The inputs come in this `order`. Images keep their channels first from layer to layer. A dense
    layer takes the pixels in that order, unless its skip connection joins rows.
    """
    chain = []
    columns = zip(network.layers, W, network.activations, network.skips, strict=True)
    for layer, weights, activation, skip in columns:
        image = image_of(layer)
        before, taken = change(order, image), image
        if image is None and order is not None and skip is None:
            before, taken = [Piece("Flatten", (-3,))], order
        made = OPERATORS[type(layer)](layer, weights, taken)
        chain.append(Step(layer, before, made, activation, skip))
        order = getattr(layer, "image_out", None)
    return chain, order
