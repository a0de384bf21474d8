"""The interface of the blocks of one layer, which `BlockCoordinateDescent` calls in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from fastbcd.devices.tiles import Tile
from fastbcd.layers import WeightBlock
from fastbcd.solvers.on_tile import LayerOnTile
from fastbcd.solvers.output_block import update_output_states
from fastbcd.solvers.state import State

BlockOfSamples = Callable[[Tile, Any], None]
"""``update(tile, decrease)`` minimises over the rows of a block that belong to one tile. The work
array B of the layer holds ``V^_{l-1} W_l^T`` before the first update."""


class LayerBlocks(ABC):
    """The blocks of one layer l in one iteration; each algorithm has a subclass.

    Parameters
    ----------
    solver : BlockCoordinateDescent
    state : State
    l : int
        From 1 to L.
    measured : bool
        The blocks report their decreases of F.
    """

    V_block: Any
    """The V_l-block of a hidden layer, prepared for all samples."""
    W_block: WeightBlock

    def __init__(self, solver: Any, state: State, l: int, measured: bool) -> None:
        self.solver, self.state, self.l, self.measured = solver, state, l, measured
        self.problem, self.device = solver.problem, solver.device
        self.L = self.problem.n_layers
        self.operator = self.problem.layers[l - 1].on(self.device, state.W[l])
        self.unit = self.problem.per_sample(state.total_weight)

    def on(self, tile: Tile) -> LayerOnTile:
        """Return layer l on a tile."""
        return LayerOnTile(self.problem, self.state, tile, self.l)

    def above(self, tile: Tile) -> LayerOnTile:
        """Return layer l + 1 on a tile."""
        return LayerOnTile(self.problem, self.state, tile, self.l + 1)

    @abstractmethod
    def of_samples(self) -> dict[str, BlockOfSamples]:
        """Return the updates of a tile in their order, by the letter of the block."""

    @abstractmethod
    def prepare(self) -> None:
        """Do the work that all samples share, once before the pass over tiles."""

    @abstractmethod
    def arrays(self) -> list[Any]:
        """Return the arrays of samples that the blocks read and write."""

    @abstractmethod
    def add_to_W(self, tile: Tile) -> None:
        """Add a tile to the sums of the W_l-block."""

    @abstractmethod
    def update_W(self, decrease: Any) -> None:
        """Minimise over W_l."""

    def update_output_states(self, layer: LayerOnTile, U: Any, below: Any, decrease: Any) -> None:
        """Update V_L of a tile; U is U_L, or ``V^_{L-1} W_L^T`` in two-splitting.

        ``V_L = argmin s_L(V_L) + loss(V_L; Y) + gamma/2 |V_L - S_L V_{L-1} - U|^2
        + alpha/2 |V_L - V_L'|^2``; prox-linear has ``<grad loss(V_L'), V_L>`` for the loss.
        """
        update_output_states(
            self.device,
            layer.tile,
            self.problem,
            layer.V,
            U,
            below,
            self.state.Y[layer.tile.rows],
            self.solver.alpha,
            self.solver.loss_update == "prox-linear",
            decrease,
            *layer.weight,
        )
