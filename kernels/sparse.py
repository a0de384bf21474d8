"""Products with sparse samples, whose zeros are not stored, in the order of the stored numbers.

Row i of V has ``values[first[i]:last[i]]`` in ``columns[first[i]:last[i]]``, so some rows of a
matrix, in any order, are given by `first` and `last` alone. ``V^ = [V, 1]``.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import kernel

# Columns of W that are copied together, so that the copies of their numbers stay in cache.
TOGETHER = 1024


@kernel
def sparse_affine(U, first, last, columns, values, W, bias):
    """``U = V W^T + bias``; U (m, k), W (k, d), bias (k,).

    V is `first`, `last`, `columns`, `values`.

    The columns of W that V has are copied to rows of memory first. So a number of V is multiplied
    by k neighbours, whatever d is.
    """
    m, k = U.shape
    place = np.full(W.shape[1], -1, np.int32)
    for i in range(m):
        for p in range(first[i], last[i]):
            place[columns[p]] = 0
    n = 0
    for j in range(W.shape[1]):
        if place[j] == 0:
            n += 1
    found = np.empty(n, np.int32)  # in their order, so that W is read forwards
    n = 0
    for j in range(W.shape[1]):
        if place[j] == 0:
            place[j], found[n] = n, j
            n += 1
    rows = np.empty((n, k), W.dtype)
    for start in range(0, n, TOGETHER):
        stop = min(n, start + TOGETHER)
        for c in range(k):
            for j in range(start, stop):
                rows[j, c] = W[c, found[j]]
    for i in range(m):
        u = U[i]
        for c in range(k):
            u[c] = bias[c]
        for p in range(first[i], last[i]):
            row, v = rows[place[columns[p]]], values[p]
            for c in range(k):
                u[c] += v * row[c]


@kernel
def sparse_product(out, first, last, columns, values, Q):
    """``out = V^ Q``; out (m, r), Q (d + 1, r); V is `first`, `last`, `columns`, `values`."""
    d = Q.shape[0] - 1
    for i in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[i, c] = Q[d, c]
        for p in range(first[i], last[i]):
            j, v = columns[p], values[p]
            for c in range(out.shape[1]):
                out[i, c] += v * Q[j, c]


@kernel
def sparse_gradient(N, D, first, last, columns, values, scale, keep):
    """``N = scale D^T V^ + keep N``; N (k, d + 1), D (m, k).

    V is `first`, `last`, `columns`, `values`.
    """
    scale, keep, d = N.dtype.type(scale), N.dtype.type(keep), N.shape[1] - 1
    for c in range(N.shape[0]):
        row = N[c]
        for j in range(d + 1):
            row[j] *= keep
        for i in range(D.shape[0]):
            r = scale * D[i, c]
            row[d] += r
            for p in range(first[i], last[i]):
                row[columns[p]] += r * values[p]


@kernel
def sparse_sketch(out, first, last, columns, values, P, scale, keep):
    """``out = scale V^^T P + keep out``; out (d + 1, r), P (m, r).

    V is `first`, `last`, `columns`, `values`.
    """
    scale, keep, d = out.dtype.type(scale), out.dtype.type(keep), out.shape[0] - 1
    for j in range(d + 1):
        for c in range(out.shape[1]):
            out[j, c] *= keep
    for i in range(P.shape[0]):
        for c in range(out.shape[1]):
            out[d, c] += scale * P[i, c]
        for p in range(first[i], last[i]):
            j, v = columns[p], scale * values[p]
            for c in range(out.shape[1]):
                out[j, c] += v * P[i, c]


@kernel
def sparse_squared_norm(first, last, values):
    """``|V^|^2``, summed in float64; V is `first`, `last` and `values`.

    The column of ones adds the number of rows.
    """
    total = np.float64(len(first))
    for i in range(len(first)):
        for p in range(first[i], last[i]):
            total += np.float64(values[p]) * np.float64(values[p])
    return total


@kernel
def sparse_column_largest(out, first, last, columns, values):
    """``out_j = max(out_j, max_i |V_ij|)``; out (d,) float64.

    V is `first`, `last`, `columns`, `values`.
    """
    for i in range(len(first)):
        for p in range(first[i], last[i]):
            out[columns[p]] = max(out[columns[p]], abs(np.float64(values[p])))
