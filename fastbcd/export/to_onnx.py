"""Models as ONNX graphs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.export.onnx_functions import activation, each_label, link
from fastbcd.export.onnx_graph import Graph
from fastbcd.export.onnx_operators import OPERATORS, changed, skipped
from fastbcd.export.steps import change, steps
from fastbcd.export.support import (
    cast,
    check_classes,
    check_network,
    has_probabilities,
    input_dtype,
    target_scale,
    target_shift,
)
from fastbcd.models.means import has_log_link
from fastbcd.models.model import Model
from fastbcd.models.probabilities import check_has_probabilities
from fastbcd.support.floating_point import own_errstate
from fastbcd.support.version import __version__

SAMPLES = "samples"


@own_errstate
def onnx_model(model: Model, dtype: str | None = None) -> Any:
    """ONNX graph from raw inputs to predictions, an ``onnx.ModelProto`` of opset 13.

    .. code-block:: text

        classes:     X (n, d) -> outputs (n, k), probabilities (n, k), label (n,)
        regression:  X (n, d) -> prediction (n, k), or (n,) for one target

    Inputs and outputs have these names; n is free. Labels are int64, string, bool or float64, as
    the classes are. A loss without probabilities (hinge, or a model that does not know its loss)
    leaves that output out. The graph scales inputs and targets in the type of X; the network
    computes in its own type. Columns of X have the order of training, so that a row of an image has
    its channels last; images (n, C, H, W) become such rows by
    ``images.transpose(0, 2, 3, 1).reshape(n, -1)``. A convolution in float64 is a ``MatMul`` of all
    patches of X, because onnxruntime has ``Conv`` in float32 only. ``metadata_props`` has
    ``feature_names``, ``classes``, ``loss``, ``widths``, ``activations``, ``residual``, the version
    ``fastbcd`` and, if they are known, ``input_kind`` and ``image_shape``, each as JSON. With
    several labels it has ``multi_label``, too, and ``label`` is (n, k).

    Parameters
    ----------
    model : Model
    dtype : {"float32", "float64"}, optional
        Type of X and of the prediction; default: float64 if the network has it or if float32
        inputs would lose digits that matter, else float32 (`fastbcd.export.support.input_dtype`).

    Raises
    ------
    InputError
        onnx is not installed, a user wrote an activation or a type of layer, or a number is
        too large for `dtype`.
    """
    check_network(model.network)
    check_classes(model)
    network, outer = model.network, input_dtype(model, dtype)
    inner = network.W[0].dtype
    graph = Graph()
    X = graph.input("X", outer, (SAMPLES, network.widths[0]))
    v = graph.cast(_scaled(graph, model, X, outer), outer, inner)
    layers, order = steps(network, network.W, None)
    for l, step in enumerate(layers, start=1):
        x = changed(graph, v, step.before)
        u = OPERATORS[step.operator.name](graph, x, step.operator, step.layer, l)
        v = activation(graph, u, inner.type, step.activation)
        if step.skip is not None:
            v = graph.add("Add", skipped(graph, x, step.skip), v)
    v = changed(graph, v, change(order, None))
    if model.classes is None:
        _add_prediction(graph, model, graph.cast(v, inner, outer), outer)
    else:
        _add_classes(graph, model, v, inner)
    metadata = {
        "fastbcd": __version__,
        "widths": list(network.widths),
        "activations": [repr(formula) for formula in network.activations],
        "residual": [bool(residual) for residual in network.residual],
        "classes": None if model.classes is None else model.classes.tolist(),
        "feature_names": model.feature_names,
        "loss": model.loss,
    }
    if model.multi_label:
        metadata["multi_label"] = True
    known = {"input_kind": model.input_kind, "image_shape": model.image_shape}
    metadata |= {name: value for name, value in known.items() if value is not None}
    return graph.finish({name: json.dumps(value) for name, value in metadata.items()})


def _scaled(graph: Graph, model: Model, x: str, dtype: np.dtype) -> str:
    """``clip((x - shift) * scale, -limit, limit)``."""
    preprocessing = model.preprocessing
    if (preprocessing.shift != 0).any():
        x = graph.add("Sub", x, graph.constant(cast(preprocessing.shift, dtype), "shift"))
    if (preprocessing.scale != 1).any():
        x = graph.add("Mul", x, graph.constant(cast(preprocessing.scale, dtype), "scale"))
    if np.isfinite(preprocessing.limit):
        limit = dtype.type(preprocessing.limit)
        x = graph.add("Clip", x, graph.constant(-limit), graph.constant(limit))
    return x


def _add_prediction(graph: Graph, model: Model, v: str, dtype: np.dtype) -> None:
    """``v * target_scale + target_shift``, with ``exp(v)`` in place of v after a log link."""
    k = model.network.widths[-1]
    if has_log_link(model.loss):
        v = graph.add("Exp", v)
    if model.target_scale is not None:
        v = graph.add("Mul", v, graph.constant(cast(target_scale(model), dtype), "target_scale"))
    if model.target_shift is not None:
        v = graph.add("Add", v, graph.constant(cast(target_shift(model), dtype), "target_shift"))
    if k == 1:
        v = graph.add("Squeeze", v, graph.constant(np.array([1])))
    graph.output(v, "prediction", dtype, (SAMPLES,) if k == 1 else (SAMPLES, k))


def _add_classes(graph: Graph, model: Model, v: str, dtype: np.dtype) -> None:
    """Add outputs, probabilities if there are any, and the class of the largest output.

    With several labels ``label`` (n, k) is 1 for each output above 0.
    """
    assert model.classes is not None
    k, labels = len(model.classes), _labels(model.classes)
    graph.output(v, "outputs", dtype, (SAMPLES, k))
    if has_probabilities(model):
        loss = check_has_probabilities(model.loss_of_probabilities())
        p = (each_label if model.multi_label else link)(graph, v, dtype.type, k, loss)
        graph.output(p, "probabilities", dtype, (SAMPLES, k))
    if model.multi_label:
        above = graph.add("Greater", v, graph.constant(dtype.type(0)))
        graph.output(graph.cast(above, bool, np.int64), "label", np.int64, (SAMPLES, k))
        return
    largest = graph.add("ArgMax", v, axis=1, keepdims=0)
    label = graph.add("Gather", graph.constant(labels, "classes"), largest, axis=0)
    graph.output(label, "label", labels.dtype, (SAMPLES,))


def _labels(classes: NDArray[Any]) -> NDArray[Any]:
    """Classes in one of the types that ONNX users expect."""
    if classes.dtype.kind == "b":
        return classes
    if classes.dtype.kind in "iu":
        fits = classes.max() <= np.iinfo(np.int64).max
        return classes.astype(np.int64 if fits else np.uint64)
    if classes.dtype.kind == "f":
        return classes.astype(np.float64)
    return classes.astype(object)  # `check_classes` lets nothing else through than texts
