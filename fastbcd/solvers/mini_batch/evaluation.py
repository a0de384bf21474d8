"""The objective F of a mini-batch run, and the loss of some samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.protocol import Device
from fastbcd.problem import Problem
from fastbcd.solvers.mini_batch.state import MiniBatchState

# A forward pass over all samples reads so many at a time.
ROWS = 8192


def objective(problem: Problem, device: Device, state: MiniBatchState, network: Any) -> float:
    """Return the loss of all samples with the weights of `network`, plus ``r_l(W_l)``."""
    with device.session():
        total = np.zeros(1)
        for start in range(0, state.n, ROWS):
            rows = slice(start, min(state.n, start + ROWS))
            for array in (state.X, state.Y):
                device.storage.prefetch(array, rows)
            outputs = network.outputs(device, state.X[rows])
            Y = device.array(state.Y[rows], state.W[1].dtype)
            weight = None if state.sample_weight is None else state.sample_weight[rows]
            if weight is not None:
                weight = device.array(weight, np.float64)
            total += float(loss_of(problem, device, outputs, Y, weight))
            for array in (state.X, state.Y):
                device.storage.drop_mapping(array)
        penalties = zip(problem.weight_penalties, state.weights, strict=True)
        weights = float(sum(device.penalty_sum(penalty, W[:, :-1]) for penalty, W in penalties))
        device.ranks.sum(total)
        return problem.per_sample(state.n_total) * float(total[0]) + weights


def loss_of(problem: Problem, device: Device, V: Any, Y: Any, weight: NDArray[Any] | None) -> Any:
    """Return ``sum_i weight_i loss(V_i; Y_i)``; None for weights of 1."""
    if weight is None:
        return device.kernels.loss_sum(problem.loss, V, Y)
    return device.kernels.weighted_loss_sum(problem.loss, V, Y, weight)
