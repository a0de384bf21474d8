"""A layer on a tile of samples: its blocks, and the values that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.kernels import Formula
from fastbcd.layers import Operator
from fastbcd.problem import Problem
from fastbcd.solvers.state import State


class LayerWork(Workspace):
    """Work array of a tile: B holds ``V^_{l-1} W_l^T`` of the current layer, or its residual."""

    B: Buffer


@dataclass(frozen=True)
class LayerOnTile:
    """The rows of layer l, from 1 to L, that belong to one tile of samples."""

    problem: Problem
    state: State
    tile: Tile
    l: int

    @property
    def V(self) -> Any:
        """V_l."""
        return self.state.V[self.l][self.tile.rows]

    @property
    def U(self) -> Any:
        """U_l."""
        return self.state.U[self.l][self.tile.rows]

    @property
    def V_below(self) -> Any:
        """``V_{l-1}``."""
        return self.state.V[self.l - 1][self.tile.rows]

    @property
    def weight(self) -> tuple[Any, ...]:
        """The weights of the samples as last argument of kernels; see `State.weight_of`."""
        return self.state.weight_of(self.tile.rows)

    @property
    def activation(self) -> Formula:
        """``act_l``."""
        return self.problem.activations[self.l - 1]

    @property
    def skipped(self) -> Any:
        """``S_l V_{l-1}``; None where layer l is not residual."""
        skip = self.problem.skips[self.l - 1]
        return None if skip is None else skip.apply(self.tile, self.V_below)

    @property
    def B(self) -> Any:
        """The work array B of the tile, of the shape of U_l; it keeps what was written to it."""
        V = self.V
        return self.tile.work.of(LayerWork).B.array(V.shape, V.dtype)

    def linear(self, operator: Operator) -> Any:
        """Return ``V^_{l-1} W_l^T`` in the work array B; `operator` is layer l with its weights."""
        B = self.B
        operator.apply(B, self.V_below)
        return B


def operators(problem: Problem, device: Device, state: State) -> list[Operator]:
    """Return the operators ``V -> V^ W_l^T`` for l = 1..L."""
    layers = zip(problem.layers, state.W[1:], strict=True)
    return [layer.on(device, W) for layer, W in layers]
