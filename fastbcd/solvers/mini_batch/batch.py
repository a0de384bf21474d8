"""The arrays of one mini-batch: consistent states, and their updates by the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.protocol import Device
from fastbcd.problem import Problem
from fastbcd.solvers.mini_batch.state import MiniBatchState

Array = NDArray[Any]


class Batch:
    """Arrays for m samples, kept from batch to batch.

    ``V[l]`` (m, d_l + 1) states and a column of ones, l = 0..L; ``U[l]`` (m, d_l) pre-activations
    and ``D[l]`` (m, d_l) their updates, l = 1..L; ``T[l]`` (m, d_l), for residual layers only, the
    coupling residual ``V_l - S_l V_{l-1} - act(U_l)`` after the updates; ``Y`` (m, d_L) targets;
    ``projected[l]`` (m, rank) is ``V^_{l-1} Q_l`` of the metric; ``weight`` (m,) of the samples, on
    devices that read it here; ``loss`` (1,). Unless it `reads_inputs`, ``V[0]`` is None, and each
    batch gets rows of samples there, which stand for ``V^_0``, for the time of its sweep.
    """

    def __init__(
        self,
        device: Device,
        m: int,
        problem: Problem,
        metric_ranks: Sequence[int],
        dtype: np.dtype,
        reads_inputs: bool,
    ) -> None:
        def arrays(*columns: int) -> list[Array]:
            return [device.empty((m, d), dtype) for d in columns]

        widths = problem.widths
        self.reads_inputs = reads_inputs
        self.V: list[Any] = [] if reads_inputs else [None]
        self.V += arrays(*(d + 1 for d in widths[len(self.V) :]))
        for V in self.V[0 if reads_inputs else 1 :]:
            V[:, -1] = 1.0
        self.U: list[Any] = [None, *arrays(*widths[1:])]
        self.D: list[Any] = [None, *arrays(*widths[1:])]
        self.T: list[Any] = [None] + [
            device.empty((m, d), dtype) if skip else None
            for d, skip in zip(widths[1:], problem.residual, strict=True)
        ]
        # S_l V_{l-1} where it is not a view of V_{l-1}.
        self.skipped: list[Any] = [None] + [
            None if skip is None or skip.is_front else device.empty((m, skip.d_out), dtype)
            for skip in problem.skips
        ]
        self.projected: list[Any] = [None, *arrays(*metric_ranks)]
        self.Y = device.empty((m, widths[-1]), dtype)
        self.weight = device.empty((m,), np.float64)
        self.loss = device.zeros((1,), np.float64)

    def first(self, m: int) -> Batch:
        """Return a batch of m samples in the same memory."""
        part = object.__new__(Batch)
        for name, arrays in vars(self).items():
            if name in ("loss", "reads_inputs"):
                setattr(part, name, arrays)
            elif isinstance(arrays, list):
                setattr(part, name, [None if A is None else A[:m] for A in arrays])
            else:
                setattr(part, name, arrays[:m])
        return part

    def __len__(self) -> int:
        return len(self.Y)


def held_batch(
    problem: Problem, device: Device, state: MiniBatchState, m: int, reads_inputs: bool
) -> Batch:
    """Return a batch of m samples in the memory that the cache of `state` holds for the largest."""
    held: dict[int, Batch] = state.cache.batches
    largest = max(held, default=0)
    if m > largest or not held or held[largest].reads_inputs != reads_inputs:
        ranks = [metric.rank if metric else 0 for metric in state.metrics[1:]]
        held.clear()
        held[m] = Batch(device, m, problem, ranks, state.dtype, reads_inputs)
    elif m not in held:
        held[m] = held[largest].first(m)
    return held[m]
