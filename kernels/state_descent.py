"""The V_l-block without a matrix: steps of conjugate gradients, or of the proximal gradient.

The function of a sample is ``f(v) = s(v) + kappa/2 |v - c|^2 + rho/2 |u - A v|^2``. Its operator A
is applied by the caller, between two kernels. `slope` is minus the gradient of the smooth part.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import kernel


@kernel
def state_slope(slope, V, C, kappa, rho):
    """``slope = kappa (C - V) + rho slope``, given ``A*(U - A V)`` in `slope`.

    slope, V, C (m, d); kappa (d,) of their type, one number for each column; rho > 0.
    """
    r = slope.dtype.type(rho)
    for i in range(V.shape[0]):
        for j in range(V.shape[1]):
            slope[i, j] = kappa[j] * (C[i, j] - V[i, j]) + r * slope[i, j]


@kernel
def row_squares(out, A):
    """``out[i] = |A_i|^2``; A (m, d), out (m,) float64."""
    for i in range(A.shape[0]):
        out[i] = 0.0
        for j in range(A.shape[1]):
            out[i] += np.float64(A[i, j]) * np.float64(A[i, j])


@kernel
def conjugate_step(
    V, slope, P, HP, kappa, rho, squares, least, decrease, sample_weight=None
):  # fmt: skip
    """One step of conjugate gradients for each sample, on ``(diag(kappa) + rho A*A) D = slope``.

    Parameters
    ----------
    V, slope, P : (m, d) arrays, float32 or float64
        States, minus the gradient there, and search directions; all are updated in place.
    HP : (m, d) array
        ``A*A P``.
    kappa : (d,) array
    rho : float
    squares, least : (m,) float64 arrays
        ``|slope_i|^2``, updated; a sample with at most ``least_i`` does not move any more.
    decrease : (2,) float64 array or None
        ``sum_i c_i t_i squares_i / 2``, the decrease of f by steps of lengths t, is added to its
        first element.
    sample_weight : (m,) float64 array, optional
        The c_i; default: 1.

    Returns
    -------
    int
        The number of samples that may still move.
    """
    T, r, moving = V.dtype.type, V.dtype.type(rho), 0
    for i in range(V.shape[0]):
        if squares[i] <= least[i]:
            continue
        curvature = 0.0
        for j in range(V.shape[1]):
            h = kappa[j] * P[i, j] + r * HP[i, j]
            HP[i, j] = h
            curvature += np.float64(P[i, j]) * np.float64(h)
        if not curvature > 0.0:
            squares[i] = 0.0
            continue
        length, after = squares[i] / curvature, 0.0
        t = T(length)
        for j in range(V.shape[1]):
            V[i, j] += t * P[i, j]
            s = slope[i, j] - t * HP[i, j]
            slope[i, j] = s
            after += np.float64(s) * np.float64(s)
        if decrease is not None:
            c = 1.0 if sample_weight is None else sample_weight[i]
            decrease[0] += 0.5 * c * length * squares[i]
        share = T(after / squares[i])
        for j in range(V.shape[1]):
            P[i, j] = slope[i, j] + share * P[i, j]
        squares[i] = after
        moving += after > least[i]
    return moving


@kernel
def proximal_step(step, V, slope, penalty, curvature):
    """``step = prox_s(V + slope / L, 1 / L) - V``, s being `penalty`, with L = `curvature`.

    step, V, slope (m, d).
    """
    for i in range(V.shape[0]):
        for j in range(V.shape[1]):
            v = np.float64(V[i, j])
            new = penalty.prox(v + np.float64(slope[i, j]) / curvature, 1.0 / curvature)
            step[i, j] = new - v


@kernel
def accept_step(
    V, old, step, through, residual, slope, penalty, kappa, rho, fallen, decrease,
    sample_weight=None,
):  # fmt: skip
    """``V = V + step`` for each sample whose f falls, and by enough since V'.

    Parameters
    ----------
    V, old, step : (m, d) arrays, float32 or float64
        States, updated; V'; the steps, from `proximal_step`.
    through, residual : (m, d_next) arrays
        ``A step``, and ``U - A V``, which is updated.
    slope : (m, d) array
        Minus the gradient at V.
    penalty : Formula
        s; a step keeps its exact zeros and bounds.
    kappa : (d,) array
    rho : float
    fallen : (m,) float64 array
        ``f(V') - f(V)``, updated; negative: the sample does not move any more.
    decrease, sample_weight
        As in `conjugate_step`; the decrease of this step.

    Returns
    -------
    int
        The number of samples that moved.

    Notes
    -----
    With ``D = V + step - V'`` a step is taken where ``f(V) - f(V + step) > 0``,
    ``f(V') - f(V + step) >= min(kappa)/2 |D|^2`` and ``2 |D| >= |step|``. The theorem needs the
    second for its sufficient decrease, and the third for its relative error.
    """
    T, moved, weakest = V.dtype.type, 0, np.float64(kappa[0])
    for j in range(1, V.shape[1]):
        weakest = min(weakest, np.float64(kappa[j]))
    for i in range(V.shape[0]):
        if fallen[i] < 0.0:
            continue
        fall, distance, square = 0.0, 0.0, 0.0
        for j in range(V.shape[1]):
            v, d = np.float64(V[i, j]), np.float64(step[i, j])
            new = penalty.prox(v + d, 0.0)
            fall += d * (np.float64(slope[i, j]) - 0.5 * np.float64(kappa[j]) * d)
            fall += penalty.value(v) - penalty.value(new)
            distance += (new - np.float64(old[i, j])) ** 2
            square += d * d
        for j in range(through.shape[1]):
            fall -= 0.5 * rho * np.float64(through[i, j]) * np.float64(through[i, j])
        enough = fallen[i] + fall >= 0.5 * weakest * distance and 4.0 * distance >= square
        if not (fall > 0.0 and enough):
            fallen[i] = -1.0
            continue
        fallen[i] += fall
        if decrease is not None:
            decrease[0] += fall * (1.0 if sample_weight is None else sample_weight[i])
        for j in range(V.shape[1]):
            V[i, j] = T(penalty.prox(np.float64(V[i, j]) + np.float64(step[i, j]), 0.0))
        for j in range(through.shape[1]):
            residual[i, j] -= through[i, j]
        moved += 1
    return moved
