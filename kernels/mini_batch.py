"""What mini-batches add to the blocks: consistent states, and a step of W of a given length."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import kernel


@kernel
def activate_augmented(V, activation, U, below):
    """``V^ = [S V_{l-1} + act(U), 1]``.

    V (m, d + 1), U (m, d); below (m, d + 1), ``V^_{l-1}``, where the layer is residual, else None.
    """
    d = U.shape[1]
    for i in range(U.shape[0]):
        for j in range(d):
            v = activation.value(U[i, j])
            V[i, j] = v if below is None else v + below[i, j]
        V[i, d] = V.dtype.type(1)


@kernel
def displaced(A, V, pull, share):
    """``A = V + share pull``, ``pull`` None for 0; A, pull (m, d), V (m, d) or wider."""
    s = A.dtype.type(share)
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            A[i, j] = V[i, j] if pull is None else V[i, j] + s * pull[i, j]


@kernel
def step_weights(W, S, size, keep):
    """``W = keep W + size S``, the bias ``W = W + size S``; W, S (m, d + 1)."""
    T = W.dtype.type
    size, keep = T(size), T(keep)
    last = W.shape[1] - 1
    for i in range(W.shape[0]):
        for j in range(last):
            W[i, j] = keep * W[i, j] + size * S[i, j]
        W[i, last] += size * S[i, last]


@kernel
def shrink_weights(W, penalty, length):
    """``W = argmin_Z r(Z) + 1/(2 length) |Z - W|^2``, the bias left alone; W (m, d + 1)."""
    for i in range(W.shape[0]):
        for j in range(W.shape[1] - 1):
            W[i, j] = penalty.shrink(np.float64(W[i, j]), length)


@kernel
def mean_of_weights(A, W, share):
    """``A = A + share (W - A)``; A, W (m, d)."""
    s = A.dtype.type(share)
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            A[i, j] += s * (W[i, j] - A[i, j])
