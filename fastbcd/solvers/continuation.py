"""A new state that starts from given weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastbcd.solvers.defaults import AnySolver
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting


def continue_from(solver: AnySolver, state: Any, weights: Sequence[Any]) -> None:
    """Copy the `weights` ``W_1, ..., W_L`` of a network to a new `state` of `solver.init`.

    They are projected to the domains of their penalties. In full batches the states V and U become
    those of a forward pass, as after `init`.
    """
    device, penalties = solver.device, solver.problem.weight_penalties
    for own, given, penalty in zip(state.W[1:], weights, penalties, strict=True):
        own[:] = device.array(given, own.dtype)
        device.project(own[:, :-1], penalty)
    if isinstance(solver, MiniBatchThreeSplitting):
        for mean, own in zip(state.mean_W[1:], state.W[1:], strict=True):
            mean[:] = own
        return
    solver.forward(state)
