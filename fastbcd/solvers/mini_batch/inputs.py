"""Checks of the samples that `MiniBatchThreeSplitting` is given: all at first, or one batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbcd.data.validation import (
    check_inputs,
    check_loss_targets,
    check_sample_weight,
    check_some_weight,
    check_sparse_or_dense,
    check_targets,
)
from fastbcd.devices.protocol import Device
from fastbcd.devices.ranks import collective_errors
from fastbcd.errors import InputError
from fastbcd.problem import Problem
from fastbcd.solvers.mini_batch.batches import Samples

NOBODY = "X must have at least one sample on some rank"
ONE_PROCESS = "sample_weight is for one process; leave it out, or comm"


@dataclass(frozen=True)
class Data:
    """The samples of a run.

    X and Y are this rank's; `weight` (n,) is None for 1 each. Of the n samples of all ranks,
    `first` are on the ranks before this one.
    """

    X: Any
    Y: Any
    weight: NDArray[np.float64] | None
    n: int
    first: int


def checked_data(
    problem: Problem, device: Device, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None
) -> Data:
    """Return the samples of a run as arrays; `InputError` if they do not fit the problem.

    Memory-mapped arrays are checked later by `take`, batch by batch.
    """
    ranks, others, weight = device.ranks, device.ranks.size > 1, None
    with collective_errors(ranks):
        inputs = _inputs(problem, device, device.as_input(X))
        targets = _targets(problem, device, device.as_input(Y), len(inputs))
        if sample_weight is not None:
            if others:
                raise InputError(ONE_PROCESS)
            weight = mean_one(device.numpy(device.as_input(sample_weight)), len(inputs))
    counts = ranks.gather(len(inputs))
    if sum(counts) == 0:
        raise InputError(NOBODY)
    return Data(inputs, targets, weight, sum(counts), sum(counts[: ranks.rank]))


def _inputs(problem: Problem, device: Device, X: Any) -> Any:
    """Return X (n, d_0); of a memory-mapped file the first sample shows shape and type."""
    d, others = problem.widths[0], device.ranks.size > 1
    if isinstance(X, np.memmap):
        check_inputs(X[:1], d, others)
        return X
    return check_sparse_or_dense(X, d, others, device.blocks)


def _targets(problem: Problem, device: Device, Y: Any, n: int) -> Any:
    """Return Y (n, d_L); of a memory-mapped file the first sample shows shape and type."""
    d, others = problem.widths[-1], device.ranks.size > 1
    if not isinstance(Y, np.memmap):
        targets = check_targets(Y, n, d, others, device.blocks)
        check_loss_targets(targets, problem.loss, device.blocks)
        return targets
    if len(Y) != n:
        raise InputError(f"Y has {len(Y)} samples, but X has {n}")
    check_loss_targets(check_targets(Y[:1], min(1, n), d, others), problem.loss)
    return Y


def mean_one(sample_weight: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
    """Return the weights of n samples divided by their mean; None if all are equal."""
    if sample_weight is None:
        return None
    weight = check_sample_weight(sample_weight, n)
    check_some_weight(weight)
    largest = float(weight.max())
    if float(weight.min()) == largest:
        return None
    weight = weight / largest  # the sum of large ones might overflow
    return weight / weight.mean()


def checked_batch(
    problem: Problem,
    device: Device,
    X: ArrayLike,
    Y: ArrayLike,
    sample_weight: ArrayLike | None,
    dtype: np.dtype,
) -> Samples:
    """Return the samples of one batch; `InputError` if they do not fit the problem or `dtype`."""
    ranks, others, weight = device.ranks, device.ranks.size > 1, None
    with collective_errors(ranks):
        inputs = check_sparse_or_dense(device.as_input(X), problem.widths[0], others)
        Y = check_targets(device.as_input(Y), len(inputs), problem.widths[-1], others)
        check_loss_targets(Y, problem.loss)
        if sample_weight is not None:
            if others:
                raise InputError(ONE_PROCESS)
            weight = check_sample_weight(device.numpy(device.as_input(sample_weight)), len(inputs))
    counts = ranks.gather(len(inputs))
    total, before = sum(counts), sum(counts[: ranks.rank])
    if total == 0:
        raise InputError(NOBODY)
    samples = replace(
        Samples.of(inputs, Y, problem.loss, weight=weight), total=total, before=before
    )
    if weight is not None and samples.weight_unit > math.sqrt(np.finfo(dtype).max):
        raise InputError(
            f"sample_weight: {weight.max():g} is too large for {dtype}; 1 is the weight of a usual "
            "sample"
        )
    return samples
