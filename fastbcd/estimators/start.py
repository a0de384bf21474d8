"""A new state that goes on from a network's weights."""

from __future__ import annotations

from typing import Any

from fastbcd.models.network import Network
from fastbcd.solvers.defaults import AnySolver
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting


def continue_from(solver: AnySolver, state: Any, network: Network) -> None:
    """Give `state`, fresh from `solver.init`, the weights of `network`.

    Full-batch states are those of a forward pass, as after `init`.
    """
    for own, given in zip(state.W[1:], network.W, strict=True):
        own[:] = solver.device.array(given, own.dtype)
    if isinstance(solver, MiniBatchThreeSplitting):
        for own, given in zip(state.mean_W[1:], network.W, strict=True):
            own[:] = solver.device.array(given, own.dtype)
        return
    solver.forward(state)
