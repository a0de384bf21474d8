"""The metric of the mini-batch W-block on a GPU, renewed without the host.

`fastbcd.devices.gram_metric` has the formulas. The image ``Y = G Q`` (d, r) of the directions has
singular values e, which are the eigenvalues of G, and left singular vectors, which are the next
directions. Both come from ``Y^T Y = Z diag(e^2) Z^T``: the directions are ``Y Z diag(1/e)``. What
is below `TINY` of the largest e has lost its digits in the square, and directions so small count
for nothing: e becomes 0 there, and the direction the one that the metric began with.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.kernels.cuda.target import (
    THREADS,
    block_sum,
    cuda,
    elements,
    gpu_function,
    gpu_kernel,
    launch,
    launch_block,
)

# Of the largest singular value.
TINY = 1e-6
# Share of the squares that may stay off the diagonal: images are float32, or float64 of as many.
RESOLVED = 1e-24
# Cyclic Jacobi doubles its digits in each of the last sweeps; 16 x 16 takes 6 or 7.
SWEEPS = 30


@gpu_function
def _pair(k, pairs, turn):
    """Rows p < q that meet in game k of a turn of a tournament of ``2 pairs`` rows."""
    last = 2 * pairs - 1
    p = last if k == 0 else (turn + k) % last
    q = turn if k == 0 else (turn + last - k) % last
    return min(p, q), max(p, q)


@gpu_function
def _choose_rotations(A, pairs, cosines, sines, turn):
    """Angles that make A[p, q] zero, for the disjoint pairs of one turn."""
    for k in range(cuda.threadIdx.x, pairs, THREADS):
        p, q = _pair(k, pairs, turn)
        c, s = 1.0, 0.0
        if q < A.shape[0] and A[p, q] != 0.0:
            ratio = (A[q, q] - A[p, p]) / (2.0 * A[p, q])
            t = math.copysign(1.0, ratio) / (abs(ratio) + math.sqrt(1.0 + ratio * ratio))
            c = 1.0 / math.sqrt(1.0 + t * t)
            s = t * c
        cosines[k], sines[k] = c, s
    cuda.syncthreads()


@gpu_function
def _rotate_rows(A, pairs, cosines, sines, turn):
    r = A.shape[0]
    for k in range(cuda.threadIdx.x, pairs * r, THREADS):
        game, j = k // r, k % r
        c, s = cosines[game], sines[game]
        if s != 0.0:
            p, q = _pair(game, pairs, turn)
            a, b = A[p, j], A[q, j]
            A[p, j], A[q, j] = c * a - s * b, s * a + c * b
    cuda.syncthreads()


@gpu_function
def _rotate_columns(A, Z, pairs, cosines, sines, turn):
    r = A.shape[0]
    for k in range(cuda.threadIdx.x, pairs * r, THREADS):
        game, j = k // r, k % r
        c, s = cosines[game], sines[game]
        if s != 0.0:
            p, q = _pair(game, pairs, turn)
            a, b = A[j, p], A[j, q]
            A[j, p], A[j, q] = c * a - s * b, s * a + c * b
            a, b = Z[j, p], Z[j, q]
            Z[j, p], Z[j, q] = c * a - s * b, s * a + c * b
    cuda.syncthreads()


@gpu_kernel
def _eigen(A, Z, work):
    r, me = A.shape[0], cuda.threadIdx.x
    pairs = (r + 1) // 2
    cosines, sines = work[0], work[1]
    for k in range(me, r * r, THREADS):
        Z[k // r, k % r] = 1.0 if k // r == k % r else 0.0
    cuda.syncthreads()
    for _ in range(SWEEPS):
        off, whole = 0.0, 0.0
        for k in range(me, r * r, THREADS):
            square = A[k // r, k % r] * A[k // r, k % r]
            whole += square
            if k // r != k % r:
                off += square
        off, whole = block_sum(off), block_sum(whole)
        if not off > RESOLVED * whole:  # NaN ends it, too
            break
        for turn in range(2 * pairs - 1):
            _choose_rotations(A, pairs, cosines, sines, turn)
            _rotate_rows(A, pairs, cosines, sines, turn)
            _rotate_columns(A, Z, pairs, cosines, sines, turn)


def eigenvectors_in_a_block(A: Any, Z: Any, work: Any) -> None:
    """``A = Z diag(A) Z^T``: symmetric A (r, r) becomes diagonal, Z (r, r) orthogonal.

    Cyclic Jacobi, a whole sweep in one launch of one block; work (2, r); all float64.
    """
    launch_block(_eigen, A, Z, work)


@gpu_kernel
def _ritz(
    coefficients, scale, shrinkage, level, A, trace_sum, batches, d, damping, ceiling, failures
):
    # A block: A holds squares of e on its diagonal, of sums over batches.
    r, me, n = A.shape[0], cuda.threadIdx.x, batches[0]
    largest, whole, own = 0.0, 0.0, 0.0
    for k in range(r):
        largest = max(largest, A[k, k])
        whole += A[k, k]  # not finite where one of them is not; a maximum may drop NaN
    for k in range(me, r, THREADS):
        square = A[k, k]
        if square > TINY * TINY * largest:
            own += math.sqrt(square) / n
    sum_e = block_sum(own)
    trace = trace_sum[0] / n
    good = math.isfinite(trace) and math.isfinite(whole)
    rest = max(trace - sum_e, 0.0) / max(d - r, 1)
    new_level = rest + damping * trace / d
    if 0 < r < d:
        least = math.inf
        for k in range(r):
            square = A[k, k]
            least = min(least, math.sqrt(square) / n if square > TINY * TINY * largest else 0.0)
        new_level = max(new_level, least / ceiling)
    for k in range(me, r, THREADS):
        square = A[k, k]
        counts = square > TINY * TINY * largest
        e = math.sqrt(square) / n if counts else 0.0
        above = max(e - rest, 0.0)
        scale[k] = -1.0 if not good else 1.0 / math.sqrt(square) if counts else 0.0
        coefficients[k] = above / (new_level + above) if above > 0.0 else 0.0
    before = level[0]
    cuda.syncthreads()
    if me == 0:
        shrinkage[0] = 1.0
        if good:
            # After a batch of extreme values the momentum is out of scale.
            if new_level < 0.1 * before:
                shrinkage[0] = new_level / before
            level[0] = new_level
        else:
            failures[0] = 1


@gpu_kernel
def _scale_columns(Z, scale):
    i, j, down, turns = elements(*Z.shape)
    for _ in range(turns):
        Z[i, j] *= scale[j]
        i += down


@gpu_kernel
def _turn(Q, directions, new, start, scale, coefficients):
    i, j, down, turns = elements(*Q.shape)
    for _ in range(turns):
        if scale[j] >= 0.0:
            q = new[i, j] if scale[j] > 0.0 else np.float64(start[i, j])
            Q[i, j] = q
            directions[j, i] = q * coefficients[j]
        i += down


def ritz_values(
    coefficients: Any,
    scale: Any,
    shrinkage: Any,
    level: Any,
    A: Any,
    Z: Any,
    trace_sum: Any,
    batches: Any,
    d: int,
    damping: float,
    ceiling: float,
    failures: Any,
) -> None:
    """What `fastbcd.devices.gram_metric` makes of singular values e, and ``Z = Z diag(1/e)``.

    Parameters
    ----------
    coefficients, scale : (r,) float64 arrays
        Written: ``c = (e - rest) / (level + e - rest)``; 1 over the singular values of the sum,
        0 for what is too small to count, -1 everywhere where a sum is not finite.
    shrinkage : (1,) float64 array
        Written: what the momentum is to be multiplied with.
    level : (1,) float64 array
        Renewed.
    A, Z : (r, r) float64 arrays
        From `eigenvectors_in_a_block`, for the sum of ``batches`` images.
    trace_sum, batches : (1,) float64 arrays
        Sum of the traces, and how many there are.
    d : int
    damping, ceiling : float
    failures : (1,) int32 array
        Set to 1 where a sum is not finite; then level stays.
    """
    launch_block(
        *(_ritz, coefficients, scale, shrinkage, level, A, trace_sum, batches),
        *(d, float(damping), float(ceiling), failures),
    )
    launch(_scale_columns, Z.shape, Z, scale)


def turn_directions(
    Q: Any, directions: Any, new: Any, start: Any, scale: Any, coefficients: Any
) -> None:
    """``Q = new``, ``directions = diag(coefficients) Q^T``, by columns.

    Q, new, start (d, r), directions (r, d); a column whose scale is 0 becomes that of `start`, and
    one whose scale is negative stays.
    """
    launch(_turn, Q.shape, Q, directions, new, start, scale, coefficients)
