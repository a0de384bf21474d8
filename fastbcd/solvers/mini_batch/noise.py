"""Dropout and noise on inputs: what makes the network of each mini-batch another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.protocol import Device
from fastbcd.errors import InputError
from fastbcd.problem import Problem
from fastbcd.solvers.mini_batch.settings import shares_weights
from fastbcd.support.parameters import require

Array = NDArray[Any]


@dataclass(frozen=True)
class BatchNoise:
    """The random numbers of a batch of m samples.

    `inputs` (m, d_0) is added to the inputs, and `masks[l]` (m, d_l) multiplies V_l; None changes
    nothing. A mask is 0 with the probability `dropout`, else ``1 / (1 - dropout)``.
    """

    inputs: Array | None
    masks: list[Array | None]

    def add_to_inputs(self, V: Array, rows: slice) -> None:
        """``V += inputs``, for these rows of the batch; V (m', d_0 + 1) with the ones."""
        if self.inputs is not None:
            V[:, :-1] += self.inputs[rows]

    def mask(self, l: int, A: Array, rows: slice) -> None:
        """``A *= masks[l]``: states V_l or their updates, for these rows (m', d_l) of the batch."""
        mask = self.masks[l] if self.masks else None
        if mask is not None:
            A *= mask[rows]


NO_NOISE = BatchNoise(None, [])


@dataclass(frozen=True)
class Noise:
    """``V_0 = X + input_noise N(0, 1)`` and ``V_l = B_l act(U_l)``, B_l diagonal and random.

    Each batch draws its own numbers. So it trains another network, whose hidden outputs are 0 with
    the probability `dropout` and else larger by ``1 / (1 - dropout)``: their mean is that of the
    network without. Its blocks are those of a network with the fixed linear operators B_l, and the
    update of V_l goes down through B_l, as through weights.

    Parameters
    ----------
    problem : Problem
        The hidden layers with their own weights for each output have masks; convolutions and pools
        have none.
    dropout : float
        From 0 to below 1.
    inputs : float
        `input_noise`, at least 0.
    """

    problem: Problem
    dropout: float
    inputs: float

    @classmethod
    def of(cls, problem: Problem, device: Device, dropout: float, inputs: float) -> Noise | None:
        """Return the noise; None if both numbers are 0.

        `InputError` if a number is out of range, if `device` is a GPU, or if `dropout` is to be
        combined with residual layers.
        """
        dropout = require(dropout, "dropout", at_least=0, at_most=1 - 1e-6)
        inputs = require(inputs, "input_noise", at_least=0, at_most=1e6)
        if dropout == 0.0 == inputs:
            return None
        if device.name == "cuda":
            name = "dropout" if dropout else "input_noise"
            raise InputError(f"{name} runs on the processor only; give device='cpu', or {name}=0")
        if dropout and any(problem.residual):
            raise InputError(
                "dropout does not go with residual layers, whose skip connections it would cut; "
                "give residual=False, or dropout=0"
            )
        return cls(problem, dropout, inputs)

    def draw(self, seed: int, total: int, own: slice, dtype: np.dtype) -> BatchNoise:
        """Draw the numbers of a batch of `total` samples on all ranks; return those of `own`."""
        rng = np.random.default_rng(seed)
        layers, kind = self.problem.layers, np.dtype(dtype).type
        inputs = None
        if self.inputs:
            inputs = rng.standard_normal((total, layers[0].d_in), kind)[own] * kind(self.inputs)
        masks: list[Array | None] = [None] * (len(layers) + 1)
        if self.dropout:
            kept = kind(1.0 / (1.0 - self.dropout))
            for l, layer in enumerate(layers[:-1], 1):
                if layer.has_weights and not shares_weights(layer):
                    drawn = rng.random((total, layer.d_out), np.float32)[own]
                    masks[l] = (drawn >= self.dropout) * kept
        return BatchNoise(inputs, masks)
