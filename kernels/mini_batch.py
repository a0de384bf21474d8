"""Kernels of mini-batches: consistent states, and a step of W of a given length."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import kernel


@kernel
def gather(out, A, index):
    """``out_i = A_index(i)``, in the type of `out`; out (m, d), A (n, d), index (m,) integers.

    Indices are not checked: each must be a row of A.
    """
    for i in range(out.shape[0]):
        row = A[index[i]]
        for j in range(out.shape[1]):
            out[i, j] = row[j]


@kernel
def scale_rows(A, weight):
    """``A_i = weight_i A_i``; A (m, d), weight (m,) float64."""
    for i in range(A.shape[0]):
        w = A.dtype.type(weight[i])
        for j in range(A.shape[1]):
            A[i, j] *= w


@kernel
def weighted_loss_sum(loss, V, Y, weight):
    """``sum_i weight_i loss(v_i; y_i)``, in float64; V, Y (m, k), weight (m,) float64."""
    total = 0.0
    for i in range(V.shape[0]):
        total += weight[i] * loss.row_value(V[i], Y[i])
    return total


@kernel
def activate_augmented(V, activation, U, below):
    """``V^ = [S V_{l-1} + act(U), 1]``, act being `activation`; returns ``|U|^2``.

    V (m, d + 1), U (m, d); below (m, d + 1), ``V^_{l-1}``, where the layer is residual, else None.
    """
    d, total, one = U.shape[1], 0.0, V.dtype.type(1)
    for i in range(U.shape[0]):
        square = U.dtype.type(0)  # of the loop's type: a wider type would halve the vectors
        for j in range(d):
            v = activation.value(U[i, j])
            V[i, j] = v if below is None else v + below[i, j]
            square += U[i, j] * U[i, j]
        V[i, d] = one
        total += np.float64(square)
    return total


@kernel
def step_weights(W, M, work, scaled_eigenvectors, size, keep):
    """``W = keep W + size (M - work scaled_eigenvectors)``, with keep = 1 in the bias column.

    W and the momentum M (m, d + 1), the bias last; work (m, r), scaled_eigenvectors (r, d + 1).
    """
    T = W.dtype.type
    size, keep = T(size), T(keep)
    m, columns, rank = W.shape[0], W.shape[1], scaled_eigenvectors.shape[0]
    one, two = np.empty(columns, W.dtype), np.empty(columns, W.dtype)
    for i in range(0, m, 2):  # two rows at a time: the eigenvectors are read half as often
        k = min(i + 1, m - 1)  # a last row without a second one is computed twice
        for j in range(columns):
            one[j], two[j] = M[i, j], M[k, j]
        r = 0
        while r + 4 <= rank:  # four eigenvectors at a time: steps are read and written less
            a, b, c, d = work[i, r], work[i, r + 1], work[i, r + 2], work[i, r + 3]
            e, f, g, h = work[k, r], work[k, r + 1], work[k, r + 2], work[k, r + 3]
            for j in range(columns):
                p, q = scaled_eigenvectors[r, j], scaled_eigenvectors[r + 1, j]
                u, v = scaled_eigenvectors[r + 2, j], scaled_eigenvectors[r + 3, j]
                one[j] -= a * p + b * q + c * u + d * v
                two[j] -= e * p + f * q + g * u + h * v
            r += 4
        while r < rank:
            a, e = work[i, r], work[k, r]
            for j in range(columns):
                one[j] -= a * scaled_eigenvectors[r, j]
                two[j] -= e * scaled_eigenvectors[r, j]
            r += 1
        for j in range(columns - 1):
            W[i, j] = keep * W[i, j] + size * one[j]
        W[i, columns - 1] += size * one[columns - 1]
        if k > i:
            for j in range(columns - 1):
                W[k, j] = keep * W[k, j] + size * two[j]
            W[k, columns - 1] += size * two[columns - 1]


@kernel
def prox_weights(W, penalty, length):
    """``W = argmin_Z r(Z) + 1/(2 length) |Z - W|^2``, r being `penalty`; the bias stays.

    W (m, d + 1).
    """
    for i in range(W.shape[0]):
        for j in range(W.shape[1] - 1):
            W[i, j] = penalty.prox(np.float64(W[i, j]), length)


@kernel
def mean_of_weights(A, W, share):
    """``A = A + share (W - A)``; A, W (m, d)."""
    s = A.dtype.type(share)
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            A[i, j] += s * (W[i, j] - A[i, j])
