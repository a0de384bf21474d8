"""Coordinate descent on the Hessian, for blocks with a penalty that is not quadratic.

    minimise over W:  weight/2 |U - V^ W^T|^2 + alpha/2 |W - W'|^2 + r(W)

Rows of W are independent. For a row w, with ``H = weight V^^T V^ + alpha I``, the gradient
of the smooth part at w is ``g = (w - w') H - N``, ``N = weight (U - V^ W'^T)^T V^``, and the
exact minimiser over one coordinate is ``w_j = prox(w_j - g_j / H_jj, 1 / H_jj)``. A change of
w_j changes g by a row of H. A sweep of a row costs d^2 multiplications and needs no samples.

The V_l-block of a hidden layer has the same form: each sample is a row, and all samples share
the Hessian ``H = kappa I + rho W^T W``.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import kernel


@kernel
def coordinate_hessian(H, gram, weight, alpha):
    """``H = weight gram + alpha I``, both triangles, from the lower one of gram; (d, d) float64."""
    d = gram.shape[0]
    for i in range(d):
        for j in range(i):
            H[i, j] = H[j, i] = weight * gram[i, j]
        H[i, i] = weight * gram[i, i] + alpha


@kernel
def coordinate_descent(
    W, penalty, H, N, weight, n_free, tolerance, max_sweeps, gradient, row, decrease,
    sample_weight=None,
):  # fmt: skip
    """``argmin_W 1/2 <W - W', (W - W') H> - weight <W - W', N> + r(W)``, warm-started, in place.

    Parameters
    ----------
    W : (m, d) array, float32 or float64
        W' on entry, the minimiser on exit; cyclic coordinate descent, row by row.
    penalty : Formula
        See `fastbcd.kernels.penalties`.
    H : (d, d) float64 array
        Symmetric, both triangles: `coordinate_hessian` or `state_hessian`.
    N : (m, d) float64 array
    weight : float
        ``weight N`` is the negative gradient at W'.
    n_free : int
        Number of last columns without penalty: 1 where there is a bias.
    tolerance : float
        A row is done when ``|change| sqrt(H_jj) <= tolerance max_k (|w_k| sqrt(H_kk))`` for
        each of its coordinates j in one sweep.
    max_sweeps : int
    gradient, row : (d,) float64 arrays
        Work space.
    decrease : (2,) float64 array or None
        The decrease of the function above and ``|W - W'|^2`` are added to it.
    sample_weight : (m,) float64 array, optional
        Weights of the rows in `decrease`; default: 1.

    Returns
    -------
    int
        Number of rows that were not done after `max_sweeps`; they have descended as well.
    """
    m, columns = W.shape
    unfinished, last = 0, columns - n_free
    for i in range(m):
        for j in range(columns):
            row[j] = W[i, j]
            gradient[j] = -weight * N[i, j]
        done = False
        for _ in range(max_sweeps):
            largest = scale = 0.0
            for j in range(columns):
                curvature = H[j, j]
                if curvature <= 0.0:
                    continue  # a column of zeros without regularisation
                new = row[j] - gradient[j] / curvature
                if j < last:
                    new = penalty.prox(new, 1.0 / curvature)
                change = new - row[j]
                root = np.sqrt(curvature)
                largest = max(largest, abs(change) * root)
                scale = max(scale, max(abs(new), abs(row[j])) * root)
                if change != 0.0:
                    row[j] = new
                    for k in range(columns):
                        gradient[k] += change * H[j, k]
            if largest <= tolerance * scale:
                done = True
                break
        unfinished += not done
        if decrease is not None:
            c = 1.0 if sample_weight is None else sample_weight[i]
            # For a quadratic the decrease is the change times the mean of the slopes at both ends.
            for j in range(columns):
                old, change = np.float64(W[i, j]), row[j] - np.float64(W[i, j])
                decrease[0] += c * (0.5 * change * (weight * N[i, j] - gradient[j]))
                decrease[1] += c * (change * change)
                if j < last:
                    decrease[0] += c * (penalty.value(old) - penalty.value(row[j]))
        for j in range(columns):
            W[i, j] = row[j]
    return unfinished


@kernel
def penalty_sum(penalty, W, sample_weight=None):
    """``sum_i c_i r(W_i)``, summed in float64, r being `penalty`.

    W (m, d) without the bias column; c is `sample_weight` (m,), 1 for each where it is None.
    """
    total = 0.0
    for i in range(W.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        for j in range(W.shape[1]):
            total += c * penalty.value(np.float64(W[i, j]))
    return total


@kernel
def project(W, penalty):
    """Move W to the nearest point of the penalty's domain; W (m, d) without the bias column."""
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            W[i, j] = penalty.prox(np.float64(W[i, j]), 0.0)
