"""Activations and links as nodes of an ONNX graph.

Each function takes a graph, a value x of it and `T`, the scalar type of x (`numpy.float32`,
`numpy.float64`), and returns a value. onnxruntime has LeakyRelu and Softplus for float32 only, so
they are made of operators that it has for both types.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.export.onnx_graph import Graph
from fastbcd.kernels import Formula
from fastbcd.models.probabilities import LINKS, slope_of_labels


def activation(graph: Graph, x: str, T: Any, formula: Formula) -> str:
    """``act(x)``, elementwise."""
    if formula.name == "linear":
        return x
    if formula.name in ("relu", "sigmoid", "tanh"):
        return graph.add(formula.name.capitalize(), x)
    if formula.name == "softplus":
        return _softplus(graph, x, T)
    arguments = [T(argument) for argument in formula.arguments]
    if formula.name == "leaky_relu":  # its slope is below 1
        return graph.add("Max", x, graph.add("Mul", x, graph.constant(arguments[0])))
    assert formula.name == "polynomial"
    value = graph.constant(arguments[-1])
    for argument in arguments[-2::-1]:
        value = graph.add("Add", graph.add("Mul", value, x), graph.constant(argument))
    return value


def link(graph: Graph, v: str, T: Any, k: int, loss: str) -> str:
    """Probabilities for outputs v (n, k), see `fastbcd.models.probabilities`."""
    found = LINKS[loss]
    if found.kind == "simplex":
        return _simplex(graph, v, T, k)
    if found.kind == "softmax":
        return graph.add("Softmax", v, axis=1)
    assert found.slope is not None
    negative = graph.add("Mul", v, graph.constant(T(-found.slope)))
    logarithms = graph.add("Neg", _softplus(graph, negative, T))
    return graph.add("Softmax", logarithms, axis=1)


def each_label(graph: Graph, v: str, T: Any, k: int, loss: str) -> str:
    """Probabilities of several labels for outputs v (n, k)."""
    return graph.add("Sigmoid", graph.add("Mul", v, graph.constant(T(slope_of_labels(loss)))))


def _softplus(graph: Graph, x: str, T: Any) -> str:
    """``max(x, 0) + log(1 + exp(-|x|))``."""
    power = graph.add("Exp", graph.add("Neg", graph.add("Abs", x)))
    logarithm = graph.add("Log", graph.add("Add", power, graph.constant(T(1))))
    return graph.add("Add", graph.add("Relu", x), logarithm)


def _simplex(graph: Graph, v: str, T: Any, k: int) -> str:
    """``max(v - t, 0)`` with ``t = max_m (v_(1) + ... + v_(m) - 1) / m``."""
    one = graph.constant(T(1))
    below = graph.add("Sub", v, graph.add("ReduceMax", v, axes=[1], keepdims=1))
    descending = graph.add_first("TopK", below, graph.constant(np.array([k])), axis=1, sorted=1)
    sums = graph.add("CumSum", descending, graph.constant(np.int64(1)))
    counts = graph.constant(np.arange(1, k + 1, dtype=T))
    means = graph.add("Div", graph.add("Sub", sums, one), counts)
    threshold = graph.add("ReduceMax", means, axes=[1], keepdims=1)
    return graph.add("Relu", graph.add("Sub", below, threshold))
