"""A new state that goes on from a network's weights."""

from __future__ import annotations

from typing import Any

from fastbcd.estimators.solvers import AnySolver
from fastbcd.mini_batch import MiniBatchThreeSplitting
from fastbcd.network import Network


def continue_from(solver: AnySolver, state: Any, network: Network) -> None:
    """Give `state`, fresh from `solver.init`, the weights of `network`.

    Full-batch states are those of a forward pass, ``U_l = V^_{l-1} W_l^T`` and
    ``V_l = S_l V_{l-1} + act_l(U_l)``, within the domains of their penalties, as after `init`.
    """
    for own, given in zip(state.W[1:], network.W, strict=True):
        own[:] = given
    if isinstance(solver, MiniBatchThreeSplitting):
        for own, given in zip(state.mean_W[1:], network.W, strict=True):
            own[:] = given
        return
    problem, device = solver.problem, solver.device
    with device.session():
        for l, W in enumerate(state.weights, start=1):
            V = state.V[l]
            U = state.U[l] if solver.has_preactivations else device.empty(V.shape, solver.dtype)
            below = state.V[l - 1] if problem.residual[l - 1] else None
            device.kernels.affine(U, state.V[l - 1], W[:, :-1], W[:, -1].copy())
            device.kernels.activate(V, problem.activations[l - 1], U, below)
            device.project(V, problem.state_penalties[l - 1])
