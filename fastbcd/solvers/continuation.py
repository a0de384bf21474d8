"""A new state that starts from the weights of a network."""

from __future__ import annotations

from typing import Any

from fastbcd.models.network import Network
from fastbcd.solvers.defaults import AnySolver
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting


def continue_from(solver: AnySolver, state: Any, network: Network) -> None:
    """Copy the weights of `network` to a new `state` of `solver.init`.

    In full batches the states V and U become those of a forward pass, as after `init`.
    """
    for own, given in zip(state.W[1:], network.W, strict=True):
        own[:] = solver.device.array(given, own.dtype)
    if isinstance(solver, MiniBatchThreeSplitting):
        for own, given in zip(state.mean_W[1:], network.W, strict=True):
            own[:] = solver.device.array(given, own.dtype)
        return
    solver.forward(state)
