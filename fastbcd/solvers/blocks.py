"""The blocks of one layer, which an algorithm defines; its base class calls them in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.layers import WeightBlock
from fastbcd.solvers.state import State

BlockOfSamples = Callable[[Tile, Any], None]
"""``update(tile, decrease)`` minimises over the rows of a block that belong to one tile."""


class LayerWork(Workspace):
    """Work array of a tile: B holds ``V^_{l-1} W_l^T`` of the current layer, or its residual."""

    B: Buffer


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
