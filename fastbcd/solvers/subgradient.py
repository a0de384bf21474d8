"""The subgradient of F at a state, by a pass over the samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.problem import Problem
from fastbcd.problem.requirements import check_subgradient
from fastbcd.solvers.on_tile import operators
from fastbcd.solvers.state import State

CouplingResiduals = Callable[[Tile, State, int, Any], tuple[Any, Any, Any]]
"""``coupling_residuals(tile, state, l, operator)`` returns A_l, R_l and ``|g_U_l|^2`` of a tile."""


def squared_subgradient(
    problem: Problem,
    device: Device,
    state: State,
    coupling_residuals: CouplingResiduals,
) -> float:
    """Return ``|g|^2`` of a subgradient g of F at `state`.

    In three-splitting g is the smallest subgradient in each block. In two-splitting act' at a kink,
    where ``V^_{l-1} W_l^T`` is exactly 0, is that of one side.

    .. code-block:: text

        g_V_l = gamma (A_l - S_{l+1}^T A_{l+1}) - R_{l+1} W_{l+1} + ds_l(V_l)     l < L
        g_V_L = dloss(V_L) + ds_L(V_L) + gamma A_L
        g_W_l = -R_l^T V^_{l-1} + dr_l(W_l)
        g_U_l = R_l - gamma act'(U_l) A_l                                       three-splitting

    with ``A_l = V_l - S_l V_{l-1} - act``. R_l is minus the slope of F in ``V^_{l-1} W_l^T``:
    ``rho (U_l - V^_{l-1} W_l^T)``, or ``gamma act' A_l`` in two-splitting.

    The norm is dual to that of `fastbcd.training.descent_log.DescentLog`:
    ``(|g_V|^2 + |g_U|^2) / unit + |g_W|^2`` with the unit of `Problem.per_sample`. With weights c
    of samples, unit is ``unit c_i`` for sample i, and the sum over samples in g_W is weighted. The
    pass costs three products per layer.

    Raises
    ------
    InputError
        A formula lacks a derivative or subdifferential.
    """
    kernels, gamma, L = device.kernels, problem.gamma, problem.n_layers
    check_subgradient(problem)
    with device.session():
        squares = device.sum(1)
        maps = operators(problem, device, state)
        crosses = [layer.cross_sum(device) for layer in problem.layers]

        def add_states(tile: Tile) -> None:
            rows, part, products = tile.rows, 0.0, []
            weight = state.weight_of(rows)
            A_next: Any = None
            R_next: Any = None
            for l in range(L, 0, -1):
                V, penalty = state.V[l][rows], problem.state_penalties[l - 1]
                A, R, squared_U = coupling_residuals(tile, state, l, maps[l - 1])
                part += squared_U
                if l == L:
                    work, G = device.work_of_rows(tile, V), gamma * A
                    part += kernels.output_subgradient(
                        problem.loss, penalty, V, G, state.Y[rows], work, *weight
                    )
                else:
                    skip, G = problem.skips[l], A.copy()
                    if skip is not None:
                        kept = skip.kept(G)
                        kept -= skip.placed(A_next)
                    G *= gamma
                    part += problem.layers[l].squared_subgradient(
                        device, tile, maps[l], penalty, V, G, R_next, *weight
                    )
                below = state.V[l - 1][rows]
                products.append(crosses[l - 1].multiply(tile, R, below, l, *weight))
                A_next, R_next = A, R
            squares.add(tile, part)
            for sums, product in zip(reversed(crosses), products, strict=True):
                sums.add(product)

        arrays = [*state.V, *state.U, state.Y]
        device.for_each_tile(state.n, problem.widths, state.dtype, add_states, arrays=arrays)
        unit = problem.per_sample(state.total_weight)
        squared = unit * float(squares.total()[0])
        for l, (W, sums) in enumerate(zip(state.W[1:], crosses, strict=True)):
            layer, penalty = problem.layers[l], problem.weight_penalties[l]
            if not layer.has_weights:
                continue
            G = -unit * sums.total()
            squared += float(kernels.penalty_subgradient(penalty, W[:, :-1], G[:, :-1]))
            squared += float((G[:, -1] ** 2).sum())
        return squared
