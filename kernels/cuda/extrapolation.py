"""Extrapolation of states on a GPU; the difference is kept in bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.cuda.bfloat16 import bfloat16_bits, bfloat16_value
from fastbcd.kernels.cuda.target import (
    elements,
    gpu_kernel,
    launch_each,
    leave_sum,
    total_of_each,
)


@gpu_kernel
def _extrapolate(V, D, beta, penalty, P):
    i, j, down, turns = elements(*V.shape)
    for _ in range(turns):
        if P is not None:
            P[i, j] = V[i, j]
        new = V[i, j] + beta * bfloat16_value(D[i, j])
        if penalty is None or np.float64(new) == penalty.prox(np.float64(new), 0.0):
            V[i, j] = new
        else:
            D[i, j] = 0
        i += down


def extrapolate(V: Any, D: Any, beta: float, penalty: Any, P: Any = None) -> None:
    """``P = V``, ``V = V + beta D``, as in `fastbcd.kernels.extrapolate`."""
    launch_each(_extrapolate, V.shape, V, D, V.dtype.type(beta), penalty, P)


@gpu_kernel
def _before_extrapolation(P, V, D, beta):
    i, j, down, turns = elements(*V.shape)
    for _ in range(turns):
        P[i, j] = V[i, j] - beta * bfloat16_value(D[i, j])
        i += down


def before_extrapolation(P: Any, V: Any, D: Any, beta: float) -> None:
    """``P = V - beta D``, as in `fastbcd.kernels.before_extrapolation`."""
    launch_each(_before_extrapolation, V.shape, P, V, D, V.dtype.type(beta))


@gpu_kernel
def _difference(partial, D, V, P):
    i, j, down, turns = elements(*V.shape)
    own = 0.0
    for _ in range(turns):
        gap = V[i, j] - P[i, j]
        D[i, j] = bfloat16_bits(gap)
        own += np.float64(gap) * np.float64(gap)
        i += down
    leave_sum(partial, own)


def difference(D: Any, V: Any, P: Any) -> Any:
    """``D = V - P`` in bfloat16; returns ``|V - P|^2``."""
    return total_of_each(_difference, V.shape, D, V, P)[0]
