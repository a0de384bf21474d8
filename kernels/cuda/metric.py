"""The metric of the mini-batch W-block on a GPU, renewed without the host.

`fastbcd.solvers.mini_batch.gram_metric` has the formulas. Q (d, r) holds approximate eigenvectors
of G. The singular values e of the sketch ``Y = G Q`` (d, r) are its eigenvalues on convergence, and
the left singular vectors are the next Q. Both come from ``Y^T Y = Z diag(e^2) Z^T``. An e below
`TINY` times the largest has lost its digits in the square and has no effect: it becomes 0, and its
eigenvector becomes the one that the metric began with.
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

# Singular values below this share of the largest count as 0.
TINY = 1e-6
# Share of the squares that may stay off the diagonal.
RESOLVED = 1e-24
# Cyclic Jacobi doubles the correct digits in each of the last sweeps; 16 x 16 takes 6 or 7.
SWEEPS = 30


@gpu_function
def _pair(k, pairs, turn):
    """Rows p < q of pair k in a turn; pairs of a turn are disjoint, all turns have all pairs."""
    last = 2 * pairs - 1
    p = last if k == 0 else (turn + k) % last
    q = turn if k == 0 else (turn + last - k) % last
    return min(p, q), max(p, q)


@gpu_function
def _choose_rotations(A, pairs, cosines, sines, turn):
    """Cosines and sines of the rotations that make A[p, q] zero, for the pairs of one turn."""
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
        if not off > RESOLVED * whole:  # NaN ends the loop, too
            break
        for turn in range(2 * pairs - 1):
            _choose_rotations(A, pairs, cosines, sines, turn)
            _rotate_rows(A, pairs, cosines, sines, turn)
            _rotate_columns(A, Z, pairs, cosines, sines, turn)


def eigenvectors_in_a_block(A: Any, Z: Any, work: Any) -> None:
    """``A = Z diag(A) Z^T``: symmetric A (r, r) becomes diagonal, Z (r, r) orthogonal.

    Cyclic Jacobi in one launch of one block; work (2, r); all float64.
    """
    launch_block(_eigen, A, Z, work)


@gpu_kernel
def _ritz(
    coefficients,
    scale,
    kept,
    shrinkage,
    damping_level,
    A,
    trace_sum,
    batches,
    d,
    damping,
    ceiling,
    power,
    remembered,
    failures,
):
    # One block. The diagonal of A holds the squares of e, of a sum over batches.
    r, me, n = A.shape[0], cuda.threadIdx.x, batches[0]
    left = min(remembered, n)  # the number of batches that the mean counts as in the next one
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
        kept[k] = left * e if good else 0.0
        scale[k] = -1.0 if not good else 1.0 / math.sqrt(square) if counts else 0.0
        share = above / (new_level + above) if above > 0.0 else 0.0
        coefficients[k] = share if power == 1.0 else 1.0 - (1.0 - share) ** power
    before = damping_level[0]
    cuda.syncthreads()
    if me == 0:
        shrinkage[0] = 1.0
        batches[0], trace_sum[0] = 0, 0.0
        if good:
            batches[0], trace_sum[0] = left, left * trace
            # After a batch of extreme values the momentum is too large.
            if new_level < 0.1 * before:
                shrinkage[0] = new_level / before
            damping_level[0] = new_level
        else:
            failures[0] = 1


@gpu_kernel
def _scale_columns(Z, scale):
    i, j, down, turns = elements(*Z.shape)
    for _ in range(turns):
        Z[i, j] *= scale[j]
        i += down


@gpu_kernel
def _turn(Q, scaled_eigenvectors, sketch, new, start, scale, coefficients, kept):
    i, j, down, turns = elements(*Q.shape)
    for _ in range(turns):
        if scale[j] >= 0.0:
            q = new[i, j] if scale[j] > 0.0 else np.float64(start[i, j])
            Q[i, j] = q
            scaled_eigenvectors[j, i] = q * coefficients[j]
        sketch[i, j] = Q[i, j] * kept[j]
        i += down


def ritz_values(
    coefficients: Any,
    scale: Any,
    kept: Any,
    shrinkage: Any,
    damping_level: Any,
    A: Any,
    Z: Any,
    trace_sum: Any,
    batches: Any,
    d: int,
    damping: float,
    ceiling: float,
    power: float,
    remembered: int,
    failures: Any,
) -> None:
    """``c = 1 - (damping_level / (damping_level + e - rest))^power``, ``Z = Z diag(1/e)``.

    e are singular values. The formulas are those of `fastbcd.solvers.mini_batch.gram_metric`.

    Parameters
    ----------
    coefficients, scale : (r,) float64 arrays
        Written: c, and 1 over the singular values of the sum. scale is 0 for singular values
        that count as 0, and -1 in all elements where a sum is not finite.
    kept : (r,) float64 array
        Written: e times the number of batches that the mean counts as in the next one.
    shrinkage : (1,) float64 array
        Written: factor of the momentum.
    damping_level : (1,) float64 array
        Renewed.
    A, Z : (r, r) float64 arrays
        From `eigenvectors_in_a_block`, for the sum of the sketches of all `batches`.
    trace_sum, batches : (1,) float64 arrays
        Sum of the traces, and their number. The next sums begin with what is remembered.
    d : int
    damping, ceiling, power : float
    remembered : int
    failures : (1,) int32 array
        Set to 1 where a sum is not finite; damping_level then stays.
    """
    launch_block(
        _ritz,
        coefficients,
        scale,
        kept,
        shrinkage,
        damping_level,
        A,
        trace_sum,
        batches,
        d,
        float(damping),
        float(ceiling),
        float(power),
        remembered,
        failures,
    )
    launch(_scale_columns, Z.shape, Z, scale)


def turn_directions(
    Q: Any,
    scaled_eigenvectors: Any,
    sketch: Any,
    new: Any,
    start: Any,
    scale: Any,
    coefficients: Any,
    kept: Any,
) -> None:
    """``Q = new``, ``scaled_eigenvectors = diag(coefficients) Q^T``, ``sketch = Q diag(kept)``.

    Q, sketch, new, start (d, r), scaled_eigenvectors (r, d). A column of Q with scale 0 becomes
    that of `start`; a column with negative scale stays.
    """
    arrays = (sketch, new, start, scale, coefficients, kept)
    launch(_turn, Q.shape, Q, scaled_eigenvectors, *arrays)
