"""A model as a chain of PyTorch layers, described without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.export.support import check_activations, target_scale, target_shift
from fastbcd.kernels import Formula
from fastbcd.kernels.dense import times
from fastbcd.models.means import has_log_link
from fastbcd.models.model import Model
from fastbcd.models.probabilities import LINKS, check_has_probabilities

Array = NDArray[Any]
# Layers of `fastbcd.export.torch_layers`; PyTorch has all others.
OWN = ("Residual", "Polynomial", "Simplex", "OneAgainstRest", "Exponential")
# Layer and arguments for each kind of link; the last one gets its slope as argument.
LINK_LAYERS: dict[str, tuple[str, tuple[float, ...]]] = {
    "simplex": ("Simplex", ()),
    "softmax": ("Softmax", (-1,)),
    "one_against_rest": ("OneAgainstRest", ()),
}
ACTIVATIONS = {
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "polynomial": "Polynomial",
}


@dataclass(frozen=True)
class Piece:
    """A layer with its tensors by name; its `repr` is the Python expression that builds it."""

    name: str
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Array] = field(default_factory=dict)

    def __repr__(self) -> str:
        named = [f"{name}={value!r}" for name, value in self.keywords.items()]
        return f"{self.called}({', '.join([*map(repr, self.arguments), *named])})"

    @property
    def called(self) -> str:
        """The name of its class in a file that has ``from torch import nn``."""
        return self.name if self.name in OWN else f"nn.{self.name}"


def pieces(model: Model) -> list[Piece]:
    """Layers from raw inputs to `Model.outputs`, or, for regression, to `Model.predict`.

    Shift and scale of inputs are folded into the first ``Linear``, in float64. If inputs are cut
    at a limit, they are a ``Conv1d`` with one weight and bias per feature instead, before the
    ``Hardtanh`` that cuts. Scale and shift of targets are folded into the last ``Linear``, or,
    after an activation, are another such ``Conv1d``. A log link comes before them.
    """
    model.network.require_dense("an export")
    model.network.require_equal_skips("an export")
    check_activations(model)
    network, preprocessing = model.network, model.preprocessing
    first, last = 0, len(network.W) - 1
    W = [w.astype(np.float64) for w in network.W]
    d = network.widths[0]
    scale = np.broadcast_to(preprocessing.scale, d)
    offset = -np.broadcast_to(preprocessing.shift, d) * scale
    before, after = _diagonal(scale, offset), _diagonal(target_scale(model), target_shift(model))
    if np.isfinite(preprocessing.limit):
        limit = float(preprocessing.limit)  # `repr` would write a NumPy number as np.float64(...)
        before.append(Piece("Hardtanh", (-limit, limit)))
    elif not network.residual[first]:
        W[first][:, -1] += times(W[first][:, :-1], offset[:, None])[:, 0]
        W[first][:, :-1] *= scale
        before = []
    if model.classes is None and has_log_link(model.loss):
        after = [Piece("Exponential"), *after]
    elif network.activations[last].name == "linear" and not network.residual[last]:
        W[last] *= target_scale(model)[:, None]
        W[last][:, -1] += target_shift(model)
        after = []
    chain = before
    for weights, activation, residual in zip(W, network.activations, network.residual, strict=True):
        layer = [_linear(weights), *_activation(activation)]
        chain += [Piece("Residual", tuple(layer))] if residual else layer
    return chain + after


def link(model: Model) -> Piece:
    """The layer from outputs to probabilities; `InputError` if there is none."""
    loss = check_has_probabilities(model.loss_of_probabilities())
    found = LINKS[loss]
    name, arguments = LINK_LAYERS[found.kind]
    return Piece(name, arguments if found.slope is None else (*arguments, found.slope))


def state(chain: list[Piece] | tuple[Piece, ...], prefix: str = "") -> Iterator[tuple[str, Array]]:
    """Keys and tensors of the state of a ``Sequential`` of these layers."""
    for k, piece in enumerate(chain):
        for name, tensor in piece.tensors.items():
            yield f"{prefix}{k}.{name}", tensor
        if piece.name == "Residual":
            yield from state(piece.arguments, f"{prefix}{k}.layers.")


def names(chain: list[Piece] | tuple[Piece, ...]) -> set[str]:
    """Names of the classes of all layers, including layers inside others."""
    inner = [names(piece.arguments) for piece in chain if piece.name == "Residual"]
    return {piece.name for piece in chain}.union(*inner)


def _linear(W: Array) -> Piece:
    d_out, d_in = W.shape[0], W.shape[1] - 1
    return Piece("Linear", (d_in, d_out), tensors={"weight": W[:, :-1], "bias": W[:, -1]})


def _diagonal(scale: Array, offset: Array) -> list[Piece]:
    """Layers for ``x * scale + offset``; none if that changes nothing."""
    if (scale == 1).all() and (offset == 0).all():
        return []
    d = len(scale)
    tensors = {"weight": scale.reshape(d, 1, 1), "bias": offset}
    return [
        Piece("Unflatten", (-1, (d, 1))),
        Piece("Conv1d", (d, d, 1), {"groups": d}, tensors),
        Piece("Flatten", (-2,)),
    ]


def _activation(activation: Formula) -> list[Piece]:
    if activation.name == "linear":
        return []
    if activation.name == "softplus":
        # Above PyTorch's threshold of 20 it is the identity, which would cost float64 digits.
        return [Piece("Softplus", keywords={"threshold": 40.0})]
    return [Piece(ACTIVATIONS[activation.name], activation.arguments)]
