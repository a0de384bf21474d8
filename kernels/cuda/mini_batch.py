"""Kernels of mini-batches on a GPU; none waits for the host, so batches follow without gaps.

Sizes of the updates of pre-activations, the layer gain ratios that scale them and the weights of
steps are arrays on the GPU. `batch_scale` and `batch_sizes` compute on them what
`fastbcd.solvers.mini_batch.sweep` computes in NumPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.kernels.cuda.gram_solve import launch_one
from fastbcd.kernels.cuda.target import cuda, elements, gpu_kernel, launch, launch_each, number


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
def _step_weights(W, M, leading, size, keep):
    # leading = work scaled_eigenvectors, a product of cuBLAS
    i, j, down, turns = elements(*W.shape)
    T, last = W.dtype.type, np.uint64(W.shape[1] - 1)
    s, k = T(number(size)), T(number(keep))
    for _ in range(turns):
        change = M[i, j] if leading is None else M[i, j] - leading[i, j]
        W[i, j] = (k * W[i, j] if j < last else W[i, j]) + s * change
        i += down


def step_weights_along(W: Any, M: Any, leading: Any, size: Any, keep: Any) -> None:
    """``W = keep W + size (M - leading)``, with keep = 1 in the bias column.

    W, the momentum M (m, d + 1), leading (m, d + 1) or None; size and keep are numbers or (1,) on
    the GPU.
    """
    launch(_step_weights, W.shape, W, M, leading, size, keep)


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


@gpu_kernel
def _batch_scale(scale, gain_ratios, rms_U, rms_D, displacement):
    if cuda.grid(1) == 0:
        L = scale.shape[0] - 1
        scale[0] = scale[L] = 1.0
        wanted = rms_D[L]
        for l in range(L - 1, 0, -1):
            above = gain_ratios[l] * wanted
            wanted = displacement * rms_U[l]
            scale[l] = wanted / (above if above > 0.0 else 1.0)


def batch_scale(scale: Any, gain_ratios: Any, rms_U: Any, rms_D: Any, displacement: float) -> None:
    """``scale_l = displacement rms(U_l) / (gain_ratios_l wanted_{l+1})``, factor of ``D_{l+1}``.

    The target sizes of the updates D_l of pre-activations are ``wanted_L = rms(D_L)`` and
    ``wanted_l = displacement rms(U_l)`` for l < L; scale_0 = scale_L = 1. scale, gain_ratios,
    rms_U, rms_D (L + 1,) float64.
    """
    launch_one(_batch_scale, scale, gain_ratios, rms_U, rms_D, float(displacement))


@gpu_kernel
def _batch_sizes(
    weight,
    gradient_scale,
    gain_ratios,
    rms_U,
    rms_D,
    scale,
    squares,
    counts,
    responses,
    share,
    rounding,
    failures,
):
    if cuda.grid(1) == 0:
        L = scale.shape[0] - 1
        learns = True
        for l in range(1, L + 1):
            for k in range(2):
                squares[k, l] = math.sqrt(squares[k, l] / counts[l])
                if not math.isfinite(squares[k, l]):
                    failures[0] = 1
                    learns = False
        learns = learns and squares[1, L] > rounding * squares[0, L]
        if learns:
            for l in range(1, L + 1):
                if l < L and squares[1, l] > 0.0 and squares[1, l + 1] > 0.0:
                    gain_ratios[l] = squares[1, l] / (scale[l] * squares[1, l + 1])
                rms_U[l], rms_D[l] = squares[0, l], squares[1, l]
        far = 1.0
        for l in range(L, 0, -1):
            far *= responses[l] * (scale[l] if l < L else 1.0)
            moves = learns and squares[1, l] > 0.0
            weight[l] = number(share) / squares[1, l] if moves else 0.0
            gradient_scale[l] = far / squares[1, l] if moves else 0.0


def batch_sizes(
    weight: Any,
    gradient_scale: Any,
    gain_ratios: Any,
    rms_U: Any,
    rms_D: Any,
    scale: Any,
    squares: Any,
    counts: Any,
    responses: Any,
    share: Any,
    rounding: float,
    failures: Any,
) -> None:
    """``weight_l = share / rms(D_l)``, with sizes and layer gain ratios of the batch renewed.

    Parameters
    ----------
    weight, gradient_scale : (L + 1,) float64 arrays
        Written: ``share / rms(D_l)``; and the update of U_l by a unit of the loss's negative
        gradient, in units of ``rms(D_l)``. Both are 0 where D_l is 0 or the fit is exact.
    gain_ratios, rms_U, rms_D : (L + 1,) float64 arrays
        Renewed, unless the fit of this batch is exact up to `rounding`.
    scale : (L + 1,) float64 array
        From `batch_scale`; the updates D_l were computed with it.
    squares : (2, L + 1) float64 array
        ``|U_l|^2`` and ``|D_l|^2``; their root mean squares on exit.
    counts, responses : (L + 1,) float64 arrays
        Number of elements of U_l; update of U_l by a unit of ``D_{l+1} W_{l+1}``.
    share : float or (1,) array
        Numerator of the steps' weights.
    rounding : float
        The fit counts as exact where ``rms(D_L) <= rounding rms(U_L)``.
    failures : (1,) int32 array
        Set to 1 where a size is not finite.
    """
    launch_one(
        _batch_sizes,
        weight,
        gradient_scale,
        gain_ratios,
        rms_U,
        rms_D,
        scale,
        squares,
        counts,
        responses,
        share,
        float(rounding),
        failures,
    )
