"""The state before the first batch: weights that are scaled on some samples, and metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.data.validation import check_inputs, check_loss_targets
from fastbcd.devices.protocol import Device
from fastbcd.devices.ranks import collective_errors
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.problem import Problem
from fastbcd.problem.initialization import output_unit, scaled_weights
from fastbcd.solvers.budget import MOST_FIRST, planned_bytes_of_batches
from fastbcd.solvers.mini_batch.batches import rows_here
from fastbcd.solvers.mini_batch.gram_metric import GramMetric
from fastbcd.solvers.mini_batch.inputs import Data
from fastbcd.solvers.mini_batch.output_metric import OUTPUT_DAMPING, REMEMBERED
from fastbcd.solvers.mini_batch.settings import Settings
from fastbcd.solvers.mini_batch.state import MiniBatchState
from fastbcd.support.parameters import require_integer

# The metric's ceiling without momentum: a bound on steps in directions that it does not keep.
CEILING = 0.35


def first_state(
    problem: Problem,
    device: Device,
    dtype: np.dtype,
    data: Data,
    settings: Settings,
    output_rank: int,
    spectral: bool,
    nesterov: bool,
    length: int,
    seed: int,
    averages: bool,
) -> MiniBatchState:
    """Return the state before the first of `length` batches.

    It `averages` weights or not, and takes `spectral` and `nesterov` steps or not.
    """
    ranks, n = device.ranks, data.n
    of_metrics, batch_size = (settings.rank, output_rank), settings.batch_size
    work = planned_bytes_of_batches(
        problem, device, dtype, batch_size, of_metrics, spectral, nesterov, n
    )
    with collective_errors(ranks):
        seed = require_integer(seed, "seed", at_least=0)
        device.storage.plan(work, 0, device.n_threads or 1, [data.X, data.Y])
    for array in (data.X, data.Y):
        device.storage.read_by_rows(array)
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.permutation(n)[: max(settings.batch_size, MOST_FIRST)])
    X, Y = _on_all_ranks(problem, device, data, sample)
    weight = None if data.weight is None else data.weight[sample]
    with device.session():  # BLAS has one thread here, so that n_threads changes no bit
        drawn = scaled_weights(problem, X, Y, seed, dtype, weight)
        metrics = _metrics(problem, device, dtype, settings, seed)
        output_metrics = _output_metrics(problem, device, dtype, output_rank, seed)
    for W, penalty in zip(drawn, problem.weight_penalties, strict=True):
        device.project(W[:, :-1], penalty)
    weights = [device.array(W, dtype) for W in drawn]
    means = [device.copy(W) for W in weights] if averages else weights
    return MiniBatchState(
        W=[None, *weights],
        mean_W=[None, *means],
        S=[None, *[device.zeros(W.shape, dtype) for W in weights]],
        metrics=[None, *metrics],
        output_metrics=output_metrics,
        X=device.batches.resident(data.X),
        Y=device.batches.resident(data.Y),
        settings=settings,
        output_unit=output_unit(problem, Y, weight),
        length=length,
        rng=rng,
        sample_weight=data.weight,
        n_total=n,
        first=data.first,
    )


def _on_all_ranks(problem: Problem, device: Device, data: Data, rows: Any) -> tuple[Any, Any]:
    """Return these `rows` of the samples of all ranks, after a check, on all ranks."""
    ranks, own = device.ranks, rows_here(rows, data.first, len(data.X))
    if isinstance(data.X, SparseRows):  # of one process, and checked
        return data.X[own], device.batches.rows_of(data.Y, own)
    with collective_errors(ranks):
        some = device.batches.rows_of(data.X, own)
        X = check_inputs(some, problem.widths[0], ranks.size > 1)
        Y = device.batches.rows_of(data.Y, own)
        check_loss_targets(Y, problem.loss)
    return np.concatenate(ranks.gather(X)), np.concatenate(ranks.gather(Y))


def _metrics(
    problem: Problem, device: Device, dtype: np.dtype, settings: Settings, seed: int
) -> list[GramMetric | None]:
    """Return the metric of each layer's W-block; None for a layer without weights."""
    rank, damping, ceiling = settings.rank, settings.damping, CEILING / (1.0 - settings.momentum)
    return [
        GramMetric(device, layer.weight_shape[1], rank, damping, dtype, seed, ceiling)
        if layer.has_weights
        else None
        for layer in problem.layers
    ]


def _output_metrics(
    problem: Problem, device: Device, dtype: np.dtype, rank: int, seed: int
) -> list[GramMetric | None]:
    """Return the metric of each layer's updates; none at all for rank 0."""
    if rank == 0:
        return []
    metrics: list[GramMetric | None] = [None]
    for layer in problem.layers:
        metric = None
        if layer.has_weights:
            d, damping, kept = layer.weight_shape[0], OUTPUT_DAMPING, REMEMBERED
            metric = GramMetric(device, d, rank, damping, dtype, seed, power=0.5, remembered=kept)
        metrics.append(metric)
    return metrics
