"""A model as a chain of PyTorch layers, described without PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.export.operators import Order
from fastbcd.export.piece import Array, Piece
from fastbcd.export.steps import axes_of, change, image_of, steps
from fastbcd.export.support import check_network, target_scale, target_shift
from fastbcd.kernels import Formula
from fastbcd.kernels.dense import times
from fastbcd.layers import Skip
from fastbcd.models.means import has_log_link
from fastbcd.models.model import Model
from fastbcd.models.probabilities import LINKS, check_has_probabilities, slope_of_labels

# Layer and arguments for each kind of link; the last one gets its slope as argument.
LINK_LAYERS: dict[str, tuple[str, tuple[float, ...]]] = {
    "simplex": ("Simplex", ()),
    "softmax": ("Softmax", (-1,)),
    "one_against_rest": ("OneAgainstRest", ()),
}
# The names of activations, and PyTorch's names for them; `Polynomial` is one of ours.
ACTIVATIONS = {
    "linear": "Identity",
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softplus": "Softplus",
    "polynomial": "Polynomial",
}


def pieces(model: Model) -> list[Piece]:
    """Layers from raw inputs to `Model.outputs`, or, for regression, to `Model.predict`."""
    network = model.network
    check_network(network)
    W = [w.astype(np.float64) for w in network.W]
    chain, order = _scaled_inputs(model, W)
    after = _scaled_targets(model, W)
    middle, order = steps(network, W, order)
    for step in middle:
        layer = [step.operator, *_activation(step.activation)]
        chain += step.before
        chain += layer if step.skip is None else [_residual(layer, step.skip)]
    return chain + change(order, None) + after


def _residual(layer: list[Piece], skip: Skip) -> Piece:
    """``S x + layer(x)``."""
    if skip.is_identity:
        return Piece("Residual", tuple(layer))
    return Piece("Residual", tuple(layer), {"skip": Piece("Skip", skip_arguments(skip))})


def skip_arguments(skip: Skip) -> tuple[Any, Any]:
    """Return the arguments of ``Skip`` in `fastbcd.export.torch_layers`."""
    axes = axes_of(skip)
    return tuple((s.start, s.stop, s.step) for s, _ in axes), tuple(pair for _, pair in axes)


def _scaled_inputs(model: Model, W: list[Array]) -> tuple[list[Piece], Order]:
    """``clip((x - shift) * scale, -limit, limit)``: layers, and the order of their outputs.

    Without a limit, shift and scale are folded into a first ``Linear``, in float64, and W[0] is
    changed. Else they are a ``Conv2d`` with one weight and bias per channel, where all pixels of
    an image have the same ones, or a ``Conv1d`` with one weight and bias per feature. The
    ``Hardtanh`` that cuts comes behind. Below a ``Conv2d`` of the network nothing is folded,
    because its padding is zeros of scaled inputs.
    """
    network, preprocessing = model.network, model.preprocessing
    image, d = image_of(network.layers[0]), network.widths[0]
    scale = np.broadcast_to(preprocessing.scale, d)
    offset = -np.broadcast_to(preprocessing.shift, d) * scale
    cut = np.isfinite(preprocessing.limit)
    if image is None and not cut and not network.residual[0]:
        W[0][:, -1] += times(W[0][:, :-1], offset[:, None])[:, 0]
        W[0][:, :-1] *= scale
        return [], None
    order: Order = None
    if image is not None and _same_pixels(scale, image[2]) and _same_pixels(offset, image[2]):
        order = image
        scaling = _diagonal(scale[: image[2]], offset[: image[2]], of_channels=True)
    else:
        scaling = _diagonal(scale, offset)
    limit = float(preprocessing.limit)  # `repr` would write a NumPy number as np.float64(...)
    cutting = [Piece("Hardtanh", (-limit, limit))] if cut else []
    return change(None, order) + scaling + cutting, order


def _scaled_targets(model: Model, W: list[Array]) -> list[Piece]:
    """``v * target_scale + target_shift`` for rows v, folded into a last ``Linear`` if it can be.

    Behind another layer, or an activation, this is a ``Conv1d`` with one weight per target. A log
    link comes first: ``exp(v) * target_scale + target_shift``.
    """
    network, scale, shift = model.network, target_scale(model), target_shift(model)
    if model.classes is None and has_log_link(model.loss):
        return [Piece("Exponential"), *_diagonal(scale, shift)]
    is_dense = image_of(network.layers[-1]) is None
    if is_dense and network.activations[-1].name == "linear" and not network.residual[-1]:
        W[-1] *= scale[:, None]
        W[-1][:, -1] += shift
        return []
    return _diagonal(scale, shift)


def link(model: Model) -> Piece:
    """The layer from outputs to probabilities; `InputError` if there is none."""
    loss = check_has_probabilities(model.loss_of_probabilities())
    if model.multi_label:
        slope = slope_of_labels(loss)
        return Piece("Sigmoid") if slope == 1.0 else Piece("EachLabel", (slope,))
    found = LINKS[loss]
    name, arguments = LINK_LAYERS[found.kind]
    return Piece(name, arguments if found.slope is None else (*arguments, found.slope))


def _same_pixels(numbers: Array, channels: int) -> bool:
    """Whether the numbers (H W C,) are the same for all pixels of a channel."""
    return bool((numbers.reshape(-1, channels) == numbers[:channels]).all())


def _diagonal(scale: Array, offset: Array, of_channels: bool = False) -> list[Piece]:
    """Layers for ``x * scale + offset``, x being rows, or images by channels; none if it is x."""
    if (scale == 1).all() and (offset == 0).all():
        return []
    d, ones = len(scale), (1, 1, 1) if of_channels else (1, 1)
    tensors = {"weight": scale.reshape(d, *ones), "bias": offset}
    if of_channels:
        return [Piece("Conv2d", (d, d, 1), {"groups": d}, tensors)]
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
        return [Piece(ACTIVATIONS["softplus"], keywords={"threshold": 40.0})]
    return [Piece(ACTIVATIONS[activation.name], activation.arguments)]
