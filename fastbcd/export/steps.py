"""The layers of a network in turn, with the changes of order that their states need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastbcd.export.operators import Order, operator
from fastbcd.export.piece import Array, Piece
from fastbcd.kernels import Formula
from fastbcd.layers import Layer
from fastbcd.models.network import Network


@dataclass(frozen=True)
class Step:
    """``behind(act(operator(x)))`` with ``x = before(V)``, plus x if the layer is residual.

    `before` and `behind` change the order of states only, the latter into the order of x.
    """

    layer: Layer
    before: list[Piece]
    operator: Piece
    activation: Formula
    behind: list[Piece]
    residual: bool


def image_of(layer: Layer) -> Order:
    """Return the size of the images that a layer takes; None if it takes rows."""
    return getattr(layer, "image", None)


def change(old: Order, new: Order) -> list[Piece]:
    """Return the layers that bring states from one order into another."""
    if old == new:
        return []
    rows = [] if old is None else [Piece("ChannelsLast")]
    return rows if new is None else [*rows, Piece("ChannelsFirst", new)]


def steps(network: Network, W: Sequence[Array], order: Order) -> tuple[list[Step], Order]:
    """Return a step for each layer with the weights W, and the order of the outputs.

    The inputs come in this `order`. Images keep their channels first from layer to layer. A dense
    layer takes the pixels in that order, unless its skip connection joins rows.
    """
    chain = []
    columns = zip(network.layers, W, network.activations, network.residual, strict=True)
    for layer, weights, activation, residual in columns:
        image, image_out = image_of(layer), getattr(layer, "image_out", None)
        if image is None and order is not None and not residual:
            before, made = [Piece("Flatten", (-3,))], operator(layer, weights, order)
        else:
            before, made = change(order, image), operator(layer, weights, image)
        behind = change(image_out, image) if residual else []
        chain.append(Step(layer, before, made, activation, behind, residual))
        order = image if residual else image_out
    return chain, order
