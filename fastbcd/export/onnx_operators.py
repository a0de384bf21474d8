"""Operators of layers, and changes of order, as nodes of an ONNX graph.

Images have their channels first. onnxruntime has Conv and AveragePool for float32 only, so in
float64 a convolution is made of Gather and MatMul, and means are made of ReduceMean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastbcd.export.onnx_graph import Graph
from fastbcd.export.piece import Array, Piece
from fastbcd.export.steps import axes_of
from fastbcd.layers import Layer, Skip


def changed(graph: Graph, x: str, pieces: list[Piece]) -> str:
    """Return x after changes of order."""
    for piece in pieces:
        x = CHANGES[piece.name](graph, x, *piece.arguments)
    return x


def skipped(graph: Graph, x: str, skip: Skip) -> str:
    """Return ``S x``, x being rows or images."""
    if skip.is_identity:
        return x
    axes = axes_of(skip)
    parts = np.array([(s.start, s.stop, axis, s.step) for axis, (s, _) in enumerate(axes, 1)])
    x = graph.add("Slice", x, *(graph.constant(column) for column in parts.T))
    before, behind = ([0, *ends] for ends in zip(*(pair for _, pair in axes), strict=True))
    return graph.add("Pad", x, graph.constant(np.array([*before, *behind])))


def _flatten(graph: Graph, x: str, axis: int) -> str:
    """(n, C, H, W) to (n, C H W)."""
    return graph.add("Flatten", x, axis=1)


def _channels_first(graph: Graph, x: str, height: int, width: int, channels: int) -> str:
    """(n, H W C) to (n, C, H, W); the 0 of Reshape keeps n."""
    shape = graph.constant(np.array([0, height, width, channels]))
    return graph.add("Transpose", graph.add("Reshape", x, shape), perm=[0, 3, 1, 2])


def _channels_last(graph: Graph, x: str) -> str:
    """(n, C, H, W) to (n, H W C)."""
    return graph.add("Flatten", graph.add("Transpose", x, perm=[0, 2, 3, 1]), axis=1)


def _linear(graph: Graph, x: str, piece: Piece, layer: Layer, l: int) -> str:
    """``x W^T + b``."""
    W, b = piece.tensors["weight"], piece.tensors["bias"]
    return graph.add("Gemm", x, graph.constant(W, f"W{l}"), graph.constant(b, f"b{l}"), transB=1)


def _conv2d(graph: Graph, x: str, piece: Piece, layer: Any, l: int) -> str:
    """``sum_cij W[o, c, i, j] x[c, s y + i - p, s x + j - p] + b[o]``."""
    shapes = layer.shapes
    if piece.tensors["weight"].dtype == np.float64:
        return _conv2d_of_patches(graph, x, piece, layer, l)
    W = graph.constant(piece.tensors["weight"], f"W{l}")
    b = graph.constant(piece.tensors["bias"], f"b{l}")
    return graph.add(
        "Conv", x, W, b,
        kernel_shape=shapes.kernel,
        strides=shapes.stride,
        pads=[*shapes.padding, *shapes.padding],
        group=getattr(layer, "groups", 1),
    )  # fmt: skip


def _conv2d_of_patches(graph: Graph, x: str, piece: Piece, layer: Any, l: int) -> str:
    """The same as ``P W^T + b``, with the patches P (n, H', W', C k k)."""
    shapes = layer.shapes
    if any(shapes.padding):
        pads = [0, 0, *shapes.padding, 0, 0, *shapes.padding]
        x = graph.add("Pad", x, graph.constant(np.array(pads)))
    for side, axis in enumerate((2, 4)):  # (n, C, H, W) to (n, C, H', k, W', k)
        starts = shapes.stride[side] * np.arange(shapes.positions[side])
        pixels = starts[:, None] + np.arange(shapes.kernel[side])
        x = graph.add("Gather", x, graph.constant(pixels), axis=axis)
    x = graph.add("Transpose", x, perm=[0, 2, 4, 1, 3, 5])
    shape = np.array([0, *shapes.positions, shapes.patch])
    patches = graph.add("Reshape", x, graph.constant(shape))
    W = _all_channels(piece.tensors["weight"], layer).reshape(layer.channels, -1).T
    u = graph.add("MatMul", patches, graph.constant(W, f"W{l}"))
    u = graph.add("Add", u, graph.constant(piece.tensors["bias"], f"b{l}"))
    return graph.add("Transpose", u, perm=[0, 3, 1, 2])


def _all_channels(weight: Array, layer: Any) -> Array:
    """The kernels of a convolution, with zeros for the channels of other groups."""
    groups = getattr(layer, "groups", 1)
    rows, channels = layer.channels // groups, layer.image[2] // groups
    full = np.zeros((layer.channels, layer.image[2], *layer.shapes.kernel), weight.dtype)
    for g in range(groups):
        own = slice(g * rows, (g + 1) * rows)
        full[own, g * channels : (g + 1) * channels] = weight[own]
    return full


def _average_pool2d(graph: Graph, x: str, piece: Piece, layer: Any, l: int) -> str:
    """``mean_ij x[c, h y + i, w x + j]``."""
    (rows, columns), (height, width) = layer.shapes.positions, layer.shapes.kernel
    windows = graph.constant(np.array([0, layer.image[2], rows, height, columns, width]))
    return graph.add("ReduceMean", graph.add("Reshape", x, windows), axes=[3, 5], keepdims=0)


def _max_pool2d(graph: Graph, x: str, piece: Piece, layer: Any, l: int) -> str:
    """``max_ij x[c, h y + i, w x + j]``."""
    return graph.add("MaxPool", x, kernel_shape=layer.window, strides=layer.window)


# Functions for the pieces of `fastbcd.export.steps.change` and `fastbcd.export.operators`. Those of
# layers get the number l of the layer, and call its constants ``W1`` and ``b1`` if l is 1.
CHANGES: dict[str, Callable[..., str]] = {
    "Flatten": _flatten,
    "ChannelsFirst": _channels_first,
    "ChannelsLast": _channels_last,
}
OPERATORS: dict[str, Callable[[Graph, str, Piece, Any, int], str]] = {
    "Linear": _linear,
    "Conv2d": _conv2d,
    "AvgPool2d": _average_pool2d,
    "MaxPool2d": _max_pool2d,
}
