"""The objective F at a state, and what is measured with it, by passes over the samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.layers import Operator
from fastbcd.problem import Problem
from fastbcd.solvers.on_tile import LayerOnTile, operators
from fastbcd.solvers.state import State

Couplings = Callable[[LayerOnTile, Operator], tuple[Any, Any]]
"""``couplings(layer, operator)`` returns the squares that gamma/2 and rho/2 weigh, on a tile."""


def objective_and_violation(
    problem: Problem, device: Device, state: State, couplings: Couplings
) -> tuple[float, float]:
    """Return F and the constraint violation of `state`.

    `BlockCoordinateDescent.objective_and_violation` has the formulas.
    """
    with device.session():
        sums = device.sum(2)
        layers = list(enumerate(operators(problem, device, state), start=1))

        def add_terms(tile: Tile) -> None:
            V, Y = state.V[-1][tile.rows], state.Y[tile.rows]
            weight = state.weight_of(tile.rows)
            part, violation = device.kernels.loss_sum(problem.loss, V, Y, *weight), 0.0
            for l, operator in layers:
                layer = LayerOnTile(problem, state, tile, l)
                terms, squares = layer_terms(problem, device, layer, operator, couplings)
                part += terms
                violation += squares
            sums.add(tile, (part, violation))

        arrays = [*state.V, *state.U, state.Y]
        device.for_each_tile(state.n, problem.widths, state.dtype, add_terms, arrays=arrays)
        penalties = zip(problem.weight_penalties, state.W[1:], strict=True)
        weights = float(sum(device.penalty_sum(penalty, W[:, :-1]) for penalty, W in penalties))
        unit, total = problem.per_sample(state.total_weight), sums.total()
        return unit * float(total[0]) + weights, math.sqrt(unit * float(total[1]))


def layer_terms(
    problem: Problem, device: Device, layer: LayerOnTile, operator: Operator, couplings: Couplings
) -> tuple[Any, Any]:
    """Return the couplings and the state penalty of a layer in F, and its squared violation.

    They are sums over one tile, without the factor of a sample; ``V^_{l-1} W_l^T`` is left in the
    work array B of the layer.
    """
    residual, distance = couplings(layer, operator)
    coupling = 0.5 * (problem.gamma * residual + problem.rho * distance)
    penalty = device.penalty_sum(problem.state_penalties[layer.l - 1], layer.V, *layer.weight)
    return coupling + penalty, residual + distance


def magnitude_bound(problem: Problem, device: Device, state: State) -> float:
    """Return ``unit (1 + gamma + rho) (|Y|^2 + |V|^2 + |U|^2)``; X is not among the V."""
    arrays = [state.Y, *state.V[1:], *(U for U in state.U[1:] if U is not None)]
    with device.session():
        squares = device.sum(1)

        def add_squares(tile: Tile) -> None:
            rows, weight = tile.rows, state.weight_of(tile.rows)
            squares.add(tile, sum(device.kernels.squared_norm(A[rows], *weight) for A in arrays))

        device.for_each_tile(state.n, problem.widths, state.dtype, add_squares, arrays=arrays)
        unit = problem.per_sample(state.total_weight)
        return unit * (1.0 + problem.gamma + problem.rho) * float(squares.total()[0])
