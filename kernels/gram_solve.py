"""The W-block with a quadratic penalty: a ridge solve on the Gram matrix.

    minimise over W:  weight/2 |U - V^ W^T|^2 + 1/2 sum_ij d_j (W - W')_ij^2 + r(W)

In terms of the step ``D = W - W'`` its normal equations are ``D H = N`` with
``H = weight V^^T V^ + diag(shift)`` and ``N = weight (U - V^ W'^T)^T V^ - grad r(W')``.
Solving for the step, not for W, keeps the error relative to a step that shrinks.

H is scaled to unit diagonal and factored in float64 by Cholesky. Products that
were rounded to the storage type carry noise of relative size eps in every
direction; a direction in which scaled H is below that noise cannot be told
from zero, and a step along it could raise the objective. Where an estimate of
|H^-1| says that such directions exist, an eigen-decomposition solves in the
others and takes no step in these: the objective still descends.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.blas import (
    cholesky,
    cholesky_solve,
    eigenvectors,
    product,
    product_transposed,
    reciprocal_condition,
)
from fastbcd.kernels.jit import kernel

CHOLESKY, EIGEN = 0, 1


@kernel
def ridge_factor(factor, scale, gram, weight, shift, tolerance):
    """Factor ``H = weight gram + diag(shift)``, symmetrically scaled to unit diagonal.

    Parameters
    ----------
    factor : (d, d) float64 array
        Receives the Cholesky factor, or eigenvectors as rows.
    scale : (2, d) float64 array
        Receives the scaling, and the reciprocal eigenvalues where they are used.
    gram : (d, d) float64 array
        Lower triangle; not changed.
    weight : float
    shift : (d,) float64 array, >= 0
    tolerance : float
        Size, in scaled H, of the noise in `gram` and in the right-hand sides.

    Returns
    -------
    int
        `CHOLESKY` or `EIGEN`, to hand to `ridge_solve`; -1 if `gram` is not finite.
    """
    d = gram.shape[0]
    for i in range(d):
        diagonal = weight * gram[i, i] + shift[i]
        if not np.isfinite(diagonal):
            return -1
        scale[0, i] = 1.0 / np.sqrt(diagonal) if diagonal > 0.0 else 0.0
        scale[1, i] = 1.0
    norm = _scaled(factor, scale[0], gram, weight, shift)
    # The noise of the products, or that of this float64 solve if it is larger.
    threshold = max(tolerance, norm * np.finfo(np.float64).eps)
    info = np.zeros(1, np.int32)
    cholesky(factor, info)
    if info[0] == 0:
        work, iwork = np.empty(3 * d + 1), np.empty(d, np.int32)
        reciprocal_condition(factor, norm, work, iwork, info)
        # 1 / |H^-1|_1, a lower bound of the smallest eigenvalue but for a modest factor.
        if work[3 * d] * norm > threshold:
            return CHOLESKY

    _scaled(factor, scale[0], gram, weight, shift)
    values = np.empty(d)
    eigenvectors(
        factor, values, np.empty(1 + 6 * d + 2 * d * d), np.empty(3 + 5 * d, np.int32), info
    )
    if info[0] != 0:
        return -1
    for i in range(d):
        scale[1, i] = 1.0 / values[i] if values[i] > threshold else 0.0
    return EIGEN


@kernel
def _scaled(out, scale, gram, weight, shift):
    """Lower triangle of ``S (weight gram + diag(shift)) S``, S = diag(scale); its 1-norm."""
    d = gram.shape[0]
    sums = np.zeros(d)
    for i in range(d):
        for j in range(i):
            value = weight * gram[i, j] * scale[i] * scale[j]
            out[i, j] = value
            sums[i] += abs(value)
            sums[j] += abs(value)
        # Exactly 1, or 0 for a column of zeros that nothing regularises.
        out[i, i] = 1.0 if scale[i] > 0.0 else 0.0
        sums[i] += 1.0
    # Not `sums.max()`, which alone would add half a second to the first compilation.
    norm = 0.0
    for i in range(d):
        norm = max(norm, sums[i])
    return norm


@kernel
def ridge_solve(step, factor, scale, method, work):
    """``step = step H^-1``, with what `ridge_factor` left in `factor` and `scale`, and returned.

    step (m, d) float64 holds N on entry and D on exit; method is the number that `ridge_factor`
    returned; work (m, d) float64.
    """
    m, d = step.shape
    for i in range(m):
        for j in range(d):
            step[i, j] *= scale[0, j]
    if method == CHOLESKY:
        cholesky_solve(step, factor, np.zeros(1, np.int32))
    else:
        product_transposed(work, step, factor, 1.0, 0.0)
        for i in range(m):
            for j in range(d):
                work[i, j] *= scale[1, j]
        product(step, work, factor, 1.0, 0.0)
    for i in range(m):
        for j in range(d):
            step[i, j] *= scale[0, j]


@kernel
def ridge_right_hand_side(N, cross, W, weight, ridge):
    """``N = weight cross - ridge W`` (the bias column is not penalised); all (m, d + 1)."""
    m, last = N.shape[0], N.shape[1] - 1
    for i in range(m):
        for j in range(last):
            N[i, j] = weight * cross[i, j] - ridge * W[i, j]
        N[i, last] = weight * cross[i, last]


@kernel
def ridge_step_decrease(report, step, cross, W, weight, ridge, alpha):
    """Add to report: by how much F falls by the step from W on, and ``|step|^2``.

    The exact step falls by ``1/2 <D, N>`` with the proximal term, and by ``alpha/2 |D|^2``
    more without; N from weight, cross and ridge as in `ridge_right_hand_side`. step, cross,
    W (m, d + 1), report (2,) float64.
    """
    last = W.shape[1] - 1
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            slope = weight * cross[i, j] - (ridge * W[i, j] if j < last else 0.0)
            report[0] += 0.5 * step[i, j] * (slope + alpha * step[i, j])
            report[1] += step[i, j] * step[i, j]


@kernel
def add_step(W, step):
    """``W = W + step``, rounded once to W's type; W, step (m, d), step float64."""
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            W[i, j] = np.float64(W[i, j]) + step[i, j]
