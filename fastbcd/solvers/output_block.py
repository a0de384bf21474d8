"""The V_L-block of a tile: choice of its kernel, and its decrease of F."""

from __future__ import annotations

from typing import Any

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.problem import Problem


def update_output_states(
    device: Device,
    tile: Tile,
    problem: Problem,
    V: Any,
    U: Any,
    below: Any,
    Y: Any,
    alpha: float,
    linearised: bool = False,
    decrease: Any = None,
    *sample_weight: Any,
    gamma: float | None = None,
) -> None:
    """``V_L = argmin s_L(V) + loss(V; Y) + gamma/2 |V - S_L V_{L-1} - U|^2 + alpha/2 |V - V'|^2``.

    V, U, Y and `below` are the rows (m, d_L) of `tile`; `below` is ``S_L V_{L-1}``, or None for 0.
    V is replaced; V' is the old one. `gamma` is that of `problem` unless given. With `linearised`
    the loss is ``<grad loss(V'), V>`` (prox-linear). Where `decrease` (2,) is not None, the
    decrease of F and the squared step are added to it; both are sums over samples, weighted by
    `sample_weight` (m,) if it is given.
    """
    kernels, loss, penalty = device.kernels, problem.loss, problem.state_penalties[-1]
    work, gamma = device.work_of_rows(tile, V), problem.gamma if gamma is None else gamma
    terms = (loss, penalty, V, U, below, Y, 1.0, gamma, *sample_weight)
    if decrease is not None:
        before, old = kernels.output_terms(*terms), V.copy()
    if linearised:
        kernels.update_output_state_linearised(
            V, loss, penalty, U, below, Y, 1.0, gamma, alpha, work
        )
    elif penalty.ridge is None:
        kernels.update_output_state_penalised(
            V, loss, penalty, U, below, Y, 1.0, gamma, alpha, work
        )
    else:
        kernels.update_output_state(V, loss, U, below, Y, 1.0, gamma, alpha, penalty.ridge, work)
    if decrease is not None:
        decrease[0] += before - kernels.output_terms(*terms)
        decrease[1] += kernels.squared_distance(old, V, *sample_weight)
