"""The state before the first iteration: samples, random weights, a forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastbcd.data.validation import check_inputs, check_loss_targets, check_targets
from fastbcd.devices.protocol import Device
from fastbcd.devices.ranks import collective_errors
from fastbcd.devices.tiles import Tile
from fastbcd.errors import InputError
from fastbcd.problem import Problem
from fastbcd.problem.initialization import INITIALIZATIONS, initial_weights
from fastbcd.solvers import sample_weights
from fastbcd.solvers.budget import planned_bytes
from fastbcd.solvers.on_tile import LayerOnTile, operators
from fastbcd.solvers.state import State
from fastbcd.support.parameters import LARGEST, parse, require, require_integer


@dataclass(frozen=True)
class Samples:
    """The samples of this rank as arrays, after a check.

    `kept` (n,) marks those that take part, None being all; `weight` has one number for each of
    these, None being 1 each.
    """

    X: Any
    Y: Any
    kept: Any
    weight: Any


def checked_samples(
    problem: Problem, device: Device, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None
) -> Samples:
    """Return the samples; `InputError` on all ranks if those of one rank do not fit."""
    ranks, mean = device.ranks, problem.reduction == "mean"
    others = ranks.size > 1
    with collective_errors(ranks):
        X = check_inputs(device.as_input(X), problem.widths[0], others, device.blocks)
        targets = device.as_input(Y)
        Y = check_targets(targets, len(X), problem.widths[-1], others, device.blocks)
        check_loss_targets(Y, problem.loss, device.blocks)
        weight = sample_weights.checked(sample_weight, len(X), device, mean)
    return Samples(X, Y, *sample_weights.agreed(weight, len(X), mean, ranks))


def first_state(
    problem: Problem,
    device: Device,
    samples: Samples,
    weights: list[Any],
    has_preactivations: bool,
    accelerated: bool,
) -> State:
    """Return a state with these weights, and with V_l and U_l that are not yet computed."""
    kept, L, dtype = samples.kept, problem.n_layers, weights[0].dtype
    if not (samples.weight is None and kept is None) and device.name != "cpu":
        raise InputError(
            f"sample_weight: full batches have weights of samples on the processor only; "
            f"give device='cpu', or leave it out on {device.name!r}"
        )
    W = [device.array(drawn, dtype) for drawn in weights]
    n_weights = 0 if samples.weight is None else len(samples.weight)
    work, tile = planned_bytes(problem, device, dtype, has_preactivations, n_weights, accelerated)
    device.storage.plan(work, tile, device.n_threads or 1, [samples.X, samples.Y])
    n = len(samples.X) if kept is None else int(kept.sum())
    shapes = [(n, d) for d in problem.widths[1:]]
    arrays: list[Any] = device.storage.allocate(shapes * (1 + has_preactivations), dtype)
    return State(
        W=[None, *W],
        V=[sample_weights.place(device.storage, samples.X, dtype, kept), *arrays[:L]],
        U=[None, *(arrays[L:] or [None] * L)],
        Y=sample_weights.place(device.storage, samples.Y, dtype, kept),
        sample_weight=samples.weight,
    )


def first_weights(
    problem: Problem, device: Device, dtype: np.dtype, seed: int, init: str, bias: float
) -> list[Any]:
    """Draw ``W_1, ..., W_L``, and project them to the domains of their penalties."""
    seed = require_integer(seed, "seed", at_least=0)
    rule = parse(init, INITIALIZATIONS, "init")
    weights = initial_weights(problem, rule, require(bias, "bias", at_least=-LARGEST), seed, dtype)
    for W, penalty in zip(weights, problem.weight_penalties, strict=True):
        device.project(W[:, :-1], penalty)
    if not all(np.isfinite(W).all() for W in weights):
        raise InputError(f"init, bias: the weights overflow {dtype}; use smaller ones")
    return weights


def forward(problem: Problem, device: Device, state: State) -> None:
    """Replace V_l and U_l of `state`; `BlockCoordinateDescent.forward` has the formulas."""
    with device.session():
        layers = list(enumerate(operators(problem, device, state), start=1))

        def through_layers(tile: Tile) -> None:
            for l, operator in layers:
                layer = LayerOnTile(problem, state, tile, l)
                V, B = layer.V, layer.linear(operator)
                if state.U[l] is not None:
                    layer.U[:] = B
                device.kernels.activate(V, layer.activation, B, layer.skipped)
                device.project(V, problem.state_penalties[l - 1])

        arrays = [*state.V, *state.U]
        device.for_each_tile(state.n, problem.widths, state.dtype, through_layers, arrays=arrays)
