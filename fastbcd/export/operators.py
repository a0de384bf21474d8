"""Operators of layers in PyTorch's form: ``U = A(V; W)`` for images with the channels first.

An order says how the states of a sample lie: None stands for a row, as in the network, and
(H, W, C) for an image of this size, stored as (C, H, W).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastbcd.errors import InputError
from fastbcd.export.piece import Array, Piece
from fastbcd.layers import AveragePool2d, Conv2d, Dense, GroupedConv2d, Layer, MaxPool2d
from fastbcd.layers.convolution_layer import ConvolutionLayer
from fastbcd.models.network import Network

Order = tuple[int, int, int] | None


def weight_view(layer: Any, W: Array, order: Order) -> Array:
    """Return a view of W without its biases, in the order of PyTorch's ``weight``.

    A row of W is ``W[o, i, j, c]`` in a convolution, and PyTorch has ``W[o, c, i, j]``. A dense
    layer whose inputs are images in this `order` has the columns of its rows in that of their
    pixels: the view is (d_out, C, H, W), and PyTorch has (d_out, C H W).
    """
    image = order
    if isinstance(layer, ConvolutionLayer):
        image = (*layer.shapes.kernel, -1)
    weight = W[:, :-1]
    return weight if image is None else weight.reshape(len(W), *image).transpose(0, 3, 1, 2)


def _dense(layer: Any, W: Array, order: Order) -> Piece:
    """``U = V W^T + b``."""
    weight = weight_view(layer, W, order).reshape(layer.d_out, layer.d_in)
    return Piece("Linear", (layer.d_in, layer.d_out), tensors={"weight": weight, "bias": W[:, -1]})


def _conv2d(layer: Any, W: Array, order: Order) -> Piece:
    """``U = P W^T + b``; PyTorch has the rows of W, and their groups, in the same order."""
    shapes, groups = layer.shapes, getattr(layer, "groups", 1)
    sizes = (layer.image[2], layer.channels, shapes.kernel, shapes.stride, shapes.padding)
    tensors = {"weight": weight_view(layer, W, order), "bias": W[:, -1]}
    return Piece("Conv2d", sizes, {"groups": groups} if groups > 1 else {}, tensors)


def _average_pool2d(layer: Any, W: Array, order: Order) -> Piece:
    """``U = mean of each window of V``."""
    return Piece("AvgPool2d", (layer.window,))


def _max_pool2d(layer: Any, W: Array, order: Order) -> Piece:
    """``U = maximum of each window of V``."""
    return Piece("MaxPool2d", (layer.window,))


# A function for each type of layer, which gets the layer, its weights, and the order of V.
OPERATORS: dict[type[Layer], Callable[[Any, Array, Order], Piece]] = {
    Dense: _dense,
    Conv2d: _conv2d,
    GroupedConv2d: _conv2d,
    AveragePool2d: _average_pool2d,
    MaxPool2d: _max_pool2d,
}


def check_layers(network: Network) -> None:
    """`InputError` for a layer of a type that `OPERATORS` does not have."""
    for l, layer in enumerate(network.layers, start=1):
        if type(layer) not in OPERATORS:
            known = ", ".join(kind.name for kind in OPERATORS)
            raise InputError(
                f"layers: layer {l} is a {layer.name}, which cannot be exported; types that can: "
                f"{known}"
            )
