"""An ONNX graph that grows node by node and makes the names of its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastbcd.export.support import library
from fastbcd.support.version import __version__

# Runtimes since 2021 know these versions, and nothing here needs later ones.
OPSET, IR_VERSION = 13, 7


class Graph:
    """Nodes, constants and outputs so far. A value is the name of the result of a node."""

    def __init__(self) -> None:
        self.onnx = library("onnx")
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def input(self, name: str, dtype: Any, shape: Sequence[int | str]) -> str:
        """Add an input of the graph; a text in its shape is a free dimension."""
        self.inputs.append(self._declare(name, np.dtype(dtype), shape))
        return name

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node; return its result."""
        result = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [result], **attributes))
        return result

    def add_first(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with two results; return the first one."""
        result = f"{operator.lower()}_{len(self.nodes)}"
        results = [result, f"{result}_unused"]
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, results, **attributes))
        return result

    def constant(self, value: Any, name: str | None = None) -> str:
        """Add a constant: a NumPy array or scalar in its own type; texts as an array of objects."""
        array = np.array(value)
        name = name or f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def cast(self, x: str, old: Any, new: Any) -> str:
        """``x`` of type `old` in the type `new`."""
        if np.dtype(old) == np.dtype(new):
            return x
        return self.add("Cast", x, to=self._type(np.dtype(new)))

    def output(self, x: str, name: str, dtype: Any, shape: Sequence[int | str]) -> None:
        """Make a value an output of the graph, called `name`."""
        self.add("Identity", x, name=name)
        self.outputs.append(self._declare(name, np.dtype(dtype), shape))

    def finish(self, metadata: Mapping[str, str]) -> Any:
        """The model with this graph and `metadata`, checked by ONNX."""
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes, "fastbcd", self.inputs, self.outputs, initializer=self.constants
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="fastbcd",
            producer_version=__version__,
        )
        helper.set_model_props(model, dict(metadata))
        self.onnx.checker.check_model(model, full_check=True)
        return model

    def _declare(self, name: str, dtype: np.dtype, shape: Sequence[int | str]) -> Any:
        return self.onnx.helper.make_tensor_value_info(name, self._type(dtype), shape)

    def _type(self, dtype: np.dtype) -> int:
        if dtype.kind == "O":
            return self.onnx.TensorProto.STRING
        return self.onnx.helper.np_dtype_to_tensor_dtype(dtype)
