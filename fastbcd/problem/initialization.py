"""Initial weights: He, normal with a given standard deviation, or scaled by the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.errors import InputError
from fastbcd.kernels import activate
from fastbcd.problem import Problem
from fastbcd.support.parameters import SMALLEST, require

# Returns the standard deviation of a layer's weights, given the inputs of one output and the number
# of residual layers in the network (0 if the layer is plain).
Deviation = Callable[[int, int], float]


def he() -> Deviation:
    """``W ~ N(0, 2 / fan_in)`` (He et al. 2015), which keeps the scale of ReLU states.

    In residual layers the deviation is divided by their number, because each adds to the state
    below: with full-sized additions states would grow exponentially with depth.
    """
    return lambda fan_in, n_residual: float(np.sqrt(2.0 / fan_in)) / max(n_residual, 1)


def normal(std: float = 0.01) -> Deviation:
    """``W ~ N(0, std^2)``; the published experiments use `std` 0.01."""
    std = require(std, "std", at_least=0)
    return lambda fan_in, n_residual: std


INITIALIZATIONS: dict[str, Callable[..., Deviation]] = {"he": he, "normal": normal}


def initial_weights(
    problem: Problem, deviation: Deviation, bias: float, seed: int, dtype: np.dtype
) -> list[NDArray[np.floating]]:
    """Draw ``[W_1, ..., W_L]``, each layer its own; their biases are `bias`.

    They are drawn in float64 for any `dtype`, so that float32 and float64 runs start alike.
    """
    rng = np.random.default_rng(seed)
    n_residual = sum(problem.residual)
    return [
        layer.initial_weights(rng, deviation(layer.fan_in, n_residual * skip), bias, dtype)
        for layer, skip in zip(problem.layers, problem.residual, strict=True)
    ]


def scaled_weights(
    problem: Problem,
    X: NDArray[Any] | SparseRows,
    Y: NDArray[Any],
    seed: int,
    dtype: np.dtype,
    sample_weight: NDArray[Any] | None = None,
) -> list[NDArray[np.floating]]:
    """He weights, with each W_l scaled so that ``rms(U_l)`` over samples X (m, d_0) is 1.

    For losses in the units of targets, such as the squared one, the output layer differs:
    ``rms(U_L)`` is a third of ``rms(Y - mean Y)``, and its biases start at the mean of Y, weighted
    by `sample_weight` (m,). With a log link they start at the logarithm of that mean. All other
    biases are 0. So the speed of learning depends neither on the scale of the data nor on the
    activation.

    Raises
    ------
    InputError
        The states overflow.
    """
    drawn = initial_weights(problem, he(), 0.0, seed, dtype)
    V: Any = X if isinstance(X, SparseRows) else np.asarray(X, np.float64)
    wanted = np.ones(problem.n_layers)
    if problem.loss.in_target_units:
        wanted[-1] = output_unit(problem, Y, sample_weight) / 3
    if problem.loss.in_target_units or problem.loss.log_link:
        # Outputs that share a bias, such as the pixels of a channel, start at their common mean.
        last, mean = problem.layers[-1], weighted_mean(Y, sample_weight)
        if last.has_weights:
            bias = last.by_rows(mean[None])[0] * (len(drawn[-1]) / last.d_out)
            drawn[-1][:, -1] = np.log(np.maximum(bias, SMALLEST)) if problem.loss.log_link else bias
    for layer, W, size, activation, skip in zip(
        problem.layers, drawn, wanted, problem.activations, problem.skips, strict=True
    ):
        U = np.asarray(layer.linear_part(V, W), np.float64)
        rms = float(np.sqrt(np.mean(U * U)))
        factor = size / rms if rms > 0.0 and layer.has_weights else 1.0
        W[:, :-1] *= dtype.type(factor)
        U *= factor
        below = None
        if skip is not None:
            below = np.empty_like(U)
            skip.write(below, V)
        V = np.empty_like(U)
        activate(V, activation, U, below)
    if not all(np.isfinite(W).all() for W in drawn):
        raise InputError(f"X: states overflow {dtype} in the first forward pass; scale the inputs")
    return drawn


def output_unit(
    problem: Problem, Y: NDArray[Any], sample_weight: NDArray[Any] | None = None
) -> float:
    """``rms(Y - mean Y)``, the scale of outputs in the units of targets; 1 for other losses."""
    if not problem.loss.in_target_units:
        return 1.0
    if sample_weight is None:
        return float(np.sqrt(np.mean(np.var(np.asarray(Y, np.float64), axis=0)))) or 1.0
    deviations = Y - weighted_mean(Y, sample_weight)
    return float(np.sqrt(np.mean(weighted_mean(deviations**2, sample_weight)))) or 1.0


def weighted_mean(Y: NDArray[Any], sample_weight: NDArray[Any] | None) -> NDArray[Any]:
    """Weighted mean of the rows of Y (m, k); the plain mean if no weight is above 0."""
    if sample_weight is None or not sample_weight.any():
        half = np.asarray(Y).dtype == np.float16  # a mean in float16 would have three digits
        return np.asarray(np.mean(Y, axis=0, dtype=np.float64 if half else None))
    return np.asarray(np.average(np.asarray(Y, np.float64), axis=0, weights=sample_weight))
