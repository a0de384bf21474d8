"""The W-block with a quadratic penalty: a ridge solve on the Gram matrix.

    minimise over W:  weight/2 |U - V^ W^T|^2 + 1/2 sum_ij d_j (W - W')_ij^2 + r(W)

In terms of the step ``D = W - W'`` its normal equations are ``D H = N`` with
``H = weight V^^T V^ + diag(shift)`` and ``N = weight (U - V^ W'^T)^T V^ - grad r(W')``.
The unknown is the step and not W, so that the error is relative to the step, which becomes small.

H is scaled to unit diagonal and factored in float64 by Cholesky. Products that
were rounded to the storage type carry noise of relative size eps. An eigenvalue
of scaled H below that noise cannot be told from zero, and a step along its
eigenvector could raise the objective. Where an estimate of |H^-1| shows such
eigenvalues, an eigen-decomposition replaces Cholesky and takes no step along
their eigenvectors, so that the objective still descends.
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
        Size of the noise in `gram` and in the right-hand sides, in the scale of scaled H.

    Returns
    -------
    int
        `CHOLESKY` or `EIGEN`, the `method` of `ridge_solve`; -1 if `gram` is not finite.
    """
    d = gram.shape[0]
    for i in range(d):
        diagonal = weight * gram[i, i] + shift[i]
        if not np.isfinite(diagonal):
            return -1
        scale[0, i] = 1.0 / np.sqrt(diagonal) if diagonal > 0.0 else 0.0
        scale[1, i] = 1.0
    norm = _scaled(factor, scale[0], gram, weight, shift)
    # The noise of the products, or the noise of this float64 solve if that is larger.
    threshold = max(tolerance, norm * np.finfo(np.float64).eps)
    info = np.zeros(1, np.int32)
    cholesky(factor, info)
    if info[0] == 0:
        work, iwork = np.empty(3 * d + 1), np.empty(d, np.int32)
        reciprocal_condition(factor, norm, work, iwork, info)
        # 1 / |H^-1|_1 bounds the smallest eigenvalue from below, up to a modest factor.
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
    """``out = E (weight gram + diag(shift)) E``, lower triangle, E = diag(scale); its 1-norm."""
    d = gram.shape[0]
    sums = np.zeros(d)
    for i in range(d):
        for j in range(i):
            value = weight * gram[i, j] * scale[i] * scale[j]
            out[i, j] = value
            sums[i] += abs(value)
            sums[j] += abs(value)
        # Exactly 1, or 0 for a column of zeros without regularisation.
        out[i, i] = 1.0 if scale[i] > 0.0 else 0.0
        sums[i] += 1.0
    # `sums.max()` would add half a second to the first compilation.
    norm = 0.0
    for i in range(d):
        norm = max(norm, sums[i])
    return norm


@kernel
def ridge_solve(step, factor, scale, method, work):
    """``step = step H^-1``, with the results `factor`, `scale` and `method` of `ridge_factor`.

    step (m, d) float64 holds N on entry and D on exit; work (m, d) float64 is work space.
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
def ridge_step_decrease(decrease, step, cross, W, weight, ridge, alpha):
    """``decrease += 1/2 <D, N> + alpha/2 |D|^2, |D|^2``: the decrease of F by the step D from W.

    The step minimises F plus the proximal term ``alpha/2 |D|^2``. N is that of
    `ridge_right_hand_side` for the same weight, cross and ridge. step is D; step, cross, W
    (m, d + 1), decrease (2,) float64.
    """
    last = W.shape[1] - 1
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            slope = weight * cross[i, j] - (ridge * W[i, j] if j < last else 0.0)
            decrease[0] += 0.5 * step[i, j] * (slope + alpha * step[i, j])
            decrease[1] += step[i, j] * step[i, j]


@kernel
def add_step(W, step):
    """``W = W + step``, rounded once to W's type; W, step (m, d), step float64."""
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            W[i, j] = np.float64(W[i, j]) + step[i, j]
