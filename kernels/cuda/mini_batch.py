"""Kernels of mini-batches on a GPU; none waits for the host, so batches follow without gaps.

Sizes of the updates of pre-activations, the layer gain ratios that scale them and the weights of
steps are arrays on the GPU; one thread of it runs the functions of `fastbcd.kernels.rms_scaling`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels import rms_scaling as cpu
from fastbcd.kernels.cuda.gram_solve import launch_one
from fastbcd.kernels.cuda.target import (
    columns_of,
    cuda,
    elements,
    gpu_kernel,
    launch,
    launch_each,
    number,
    shared_scalar,
    to_the_right,
)
from fastbcd.kernels.rms_scaling import NOT_FINITE


@gpu_kernel
def _set_numbers(out, values):
    if cuda.grid(1) == 0:
        for k in range(len(values)):
            out[k] = values[k]


def set_numbers(out: Any, values: tuple[float, ...]) -> None:
    """``out_k = values_k``; out (k,) float64, values on the processor; returns without waiting."""
    launch_one(_set_numbers, out, values)


@gpu_kernel
def _gather(out, A, index):
    i, j, down, turns = elements(*out.shape)
    for _ in range(turns):
        row = index[i]
        out[i, j] = A[row, j]
        i += down


def gather(out: Any, A: Any, index: Any) -> None:
    """``out_i = A_index(i)``; arguments as in `fastbcd.kernels.gather`, all on the GPU."""
    launch(_gather, out.shape, out, A, index)


@gpu_kernel
def _fetch(V, X, T, Y, weight, order, weights, step_scalars, table, cursor):
    d, k = X.shape[1], Y.shape[1]
    i, j, down, turns = elements(V.shape[0], max(d, k))
    first = np.uint64(cursor[0])
    if i == 0 and j == 0:
        for c in range(table.shape[1]):
            step_scalars[c] = table[cursor[1], c]
    for _ in range(turns):
        row = order[first + i]
        if j < d:
            V[i, j] = X[row, j]
        if j < k:
            T[i, j] = Y[row, j]
        if j == 0 and weights is not None:
            weight[i] = weights[first + i]
        i += down


def fetch(
    V: Any,
    X: Any,
    T: Any,
    Y: Any,
    weight: Any,
    order: Any,
    weights: Any,
    step_scalars: Any,
    table: Any,
    cursor: Any,
) -> None:
    """``V_i = X_order(first + i)``, ``T_i = Y_order(first + i)``, ``step_scalars = table_b``.

    ``(first, b) = cursor``.

    Parameters
    ----------
    V : (m, d + 1) array
        The last column, the ones, stays.
    X : (n, d) array
        Of any type.
    T, Y : (m, k), (n, k) arrays
    weight : (m,) float64 array
        Receives ``weights_(first + i)``, where there are weights.
    order : (n,) int64 array
    weights : (n,) float64 array or None
        Weights of the samples in the order of the pass.
    step_scalars, table : (c,), (n_batches, c) float64 arrays
    cursor : (2,) int64 array
        The batch's first index into `order`, and its number.
    """
    shape = len(V), max(X.shape[1], Y.shape[1])
    launch(_fetch, shape, V, X, T, Y, weight, order, weights, step_scalars, table, cursor)


@gpu_kernel
def _advance(cursor, rows):
    if cuda.grid(1) == 0:
        cursor[0] += rows
        cursor[1] += 1


def advance(cursor: Any, rows: int) -> None:
    """``cursor = cursor + (rows, 1)``; (2,) int64."""
    launch_one(_advance, cursor, rows)


@gpu_kernel
def _scale_rows(A, weight):
    i, j, down, turns = elements(*A.shape)
    for _ in range(turns):
        w = A.dtype.type(weight[i])
        A[i, j] *= w
        i += down


def scale_rows(A: Any, weight: Any) -> None:
    """``A_i = weight_i A_i``; A (m, d), weight (m,) float64."""
    launch(_scale_rows, A.shape, A, weight)


@gpu_kernel
def _step_weights(W, M, leading, size, keep, d):
    # leading = work scaled_eigenvectors, a product of cuBLAS
    i, j, down, turns = elements(*W.shape)
    column, right, n = columns_of(i, j, down, W.shape[1], d)
    T, last = W.dtype.type, n - np.uint64(1)
    s, k = T(number(size)), T(number(keep))
    for _ in range(turns):
        change = M[i, j] if leading is None else M[i, j] - leading[i, j]
        W[i, j] = (k * W[i, j] if column < last else W[i, j]) + s * change
        i += down
        column = to_the_right(column, right, n)


def step_weights_along(W: Any, M: Any, leading: Any, size: Any, keep: Any) -> None:
    """``W = keep W + size (M - leading)``, with keep = 1 in the bias column.

    W, the momentum M (m, d + 1), leading (m, d + 1) or None; size and keep are numbers or (1,) on
    the GPU.
    """
    launch_each(_step_weights, W.shape, W, M, leading, size, keep, W.shape[1])


@gpu_kernel
def _mean_of_weights(A, W, share):
    i, j, down, turns = elements(*A.shape)
    s = A.dtype.type(number(share))
    for _ in range(turns):
        A[i, j] += s * (W[i, j] - A[i, j])
        i += down


def mean_of_weights(A: Any, W: Any, share: Any) -> None:
    """``A = A + share (W - A)``; A, W (m, d); share is a number or (1,) on the GPU."""
    launch_each(_mean_of_weights, A.shape, A, W, share)


_layer_scales_of = shared_scalar(cpu.layer_scales)
_settle_sizes_of = shared_scalar(cpu.settle_sizes)


@gpu_kernel
def _layer_scales(scale, gain_ratios, rms_U, rms_D, displacement):
    if cuda.grid(1) == 0:
        _layer_scales_of(scale, gain_ratios, rms_U, rms_D, displacement)


def layer_scales(scale: Any, gain_ratios: Any, rms_U: Any, rms_D: Any, displacement: float) -> None:
    """See `fastbcd.kernels.layer_scales`."""
    launch_one(_layer_scales, scale, gain_ratios, rms_U, rms_D, float(displacement))


@gpu_kernel
def _settle_sizes(
    weight, gradient_scale, gain_ratios, rms_U, rms_D, scale, squares, counts, responses,
    displacement, rounding, share, failures,
):  # fmt: skip
    if cuda.grid(1) == 0:
        status = _settle_sizes_of(
            weight, gradient_scale, gain_ratios, rms_U, rms_D, scale, squares, counts,
            responses, displacement, rounding, number(share),
        )  # fmt: skip
        if status == NOT_FINITE:
            failures[0] = 1


def settle_sizes(
    weight: Any, gradient_scale: Any, gain_ratios: Any, rms_U: Any, rms_D: Any, scale: Any,
    squares: Any, counts: Any, responses: Any, displacement: float, rounding: float,
    share: Any, failures: Any,
) -> None:  # fmt: skip
    """See `fastbcd.kernels.settle_sizes`; share may be an array (1,), nothing is returned.

    failures (1,) int32 becomes 1 where a size is not finite.
    """
    launch_one(
        _settle_sizes, weight, gradient_scale, gain_ratios, rms_U, rms_D, scale, squares, counts,
        responses, float(displacement), float(rounding), share, failures,
    )  # fmt: skip
