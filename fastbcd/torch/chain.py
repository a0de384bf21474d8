"""The layers of a network of PyTorch in turn, as they were read, and how its samples lie."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbcd.errors import InputError
from fastbcd.export.operators import Order, weight_view
from fastbcd.export.piece import Array
from fastbcd.export.support import library
from fastbcd.kernels import Formula, linear
from fastbcd.layers import Layer


@dataclass
class Step:
    """A layer, and the module that holds its weights.

    Parameters
    ----------
    name : str
        The module's name in messages: ``"module 2 (Conv2d)"``.
    module : torch.nn.Module
    layer : Layer
    order : Order
        The size of the images whose pixels are the inputs of a ``Linear``, else None.
    activation : Formula
    residual : bool
    """

    name: str
    module: Any
    layer: Layer
    order: Order
    activation: Formula = field(default_factory=linear)
    residual: bool = False

    def weights(self) -> Array:
        """Return W, with the bias in its last column: a copy of the module's parameters."""
        W = np.empty(self.layer.weight_shape)
        if self.layer.has_weights:
            view = weight_view(self.layer, W, self.order)
            view[...] = self.module.weight.detach().numpy().reshape(view.shape)
            W[:, -1] = self.module.bias.detach().numpy()
        if not np.isfinite(W).all():
            raise InputError(f"{self.name} has weights that are not finite")
        return W

    def write(self, W: Array) -> None:
        """Copy W into the memory of the module's parameters."""
        if self.layer.has_weights:
            torch, own = library("torch"), self.module
            view = weight_view(self.layer, W, self.order)
            with torch.no_grad():
                own.weight.copy_(torch.from_numpy(view.reshape(own.weight.shape)))
                own.bias.copy_(torch.from_numpy(W[:, -1]))


@dataclass
class Chain:
    """The modules so far.

    Parameters
    ----------
    shape : tuple of int
        The shape of a sample behind them, as PyTorch has it: (d,) or (C, H, W).

    Attributes
    ----------
    order : Order
        For images, their size (H, W, C). For rows, the size of the images that ``nn.Flatten`` made
        them of, because their numbers have another order here.
    channels_last : bool
        Whether the inputs (n, C, H, W) of the network become rows (n, H W C) here. Else rows keep
        the order of their numbers.
    steps : list of Step
    """

    shape: tuple[int, ...]
    order: Order = field(init=False, default=None)
    channels_last: bool = field(init=False, default=False)
    steps: list[Step] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if len(self.shape) == 3:
            channels, height, width = self.shape
            self.order, self.channels_last = (height, width, channels), True

    @property
    def holds_images(self) -> bool:
        """Whether the samples are images."""
        return len(self.shape) == 3

    def add(self, name: str, module: Any, layer: Layer) -> None:
        """Add a layer, which takes the samples and makes images or rows."""
        order = None if self.holds_images else self.order
        self.steps.append(Step(name, module, layer, order))
        self.order = getattr(layer, "image_out", None)
        self.shape = (layer.d_out,) if self.order is None else (self.order[2], *self.order[:2])

    def flatten(self) -> None:
        """Make rows of the samples, in the order in which they lie."""
        self.shape = (math.prod(self.shape),)
        if not self.steps:
            self.order, self.channels_last = None, False
        elif self.order is not None and (self.order[2] == 1 or self.order[:2] == (1, 1)):
            self.order = None  # both orders are the same

    def activate(self, name: str, formula: Formula) -> None:
        """Give the last layer its activation; `InputError` if it cannot have one."""
        if formula.name == "linear":
            return
        if not self.steps:
            raise InputError(f"{name} comes before the first layer, where no activation can be")
        last = self.steps[-1]
        if last.residual:
            raise InputError(
                f"{name} follows {last.name}, which is residual: its activation is within the block"
            )
        if not last.layer.has_activation:
            raise InputError(
                f"{name} follows {last.name}, which has no activation here; put {name} before it"
            )
        if last.activation.name != "linear":
            raise InputError(
                f"{name} is the second activation of {last.name}; a layer has only one here"
            )
        last.activation = formula
