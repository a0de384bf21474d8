"""The V_l-block of a hidden layer: one linear operator, the same for all samples."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.blas import (
    cholesky,
    cholesky_solve,
    cholesky_solve_columns,
    gram,
    gram_of_rows,
    product,
    product_transposed,
)
from fastbcd.kernels.jit import kernel


@kernel
def state_factor(factor, W, k, info):
    """Cholesky factor of the smaller of ``k I + W W^T`` and ``k I + W^T W``.

    Parameters
    ----------
    factor : (s, s) float64 array, ``s = min(d_next, d)``
    W : (d_next, d) float64 array
        Weights of the next layer without their bias column.
    k : float
        Ratio of the two couplings, > 0.
    info : (1,) int32 array
        0, or LAPACK's report that the factorisation failed (W not finite).
    """
    if W.shape[0] < W.shape[1]:
        gram_of_rows(factor, W, 0.0)
    else:
        gram(factor, W, 0.0)
    for i in range(factor.shape[0]):
        factor[i, i] += k
    cholesky(factor, info)


@kernel
def state_operator(M, W, factor, tall, info):
    """``M = W (k I + W^T W)^-1 = (k I + W W^T)^-1 W``, from `state_factor`.

    M (float32 or float64) and W (float64, overwritten) have the same shape: all of
    W, or some columns of it where `tall` (``d_next < d``), or else some rows, so that
    several threads can share the work.
    """
    if tall:
        cholesky_solve_columns(W, factor)
    else:
        cholesky_solve(W, factor, info)
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            M[i, j] = W[i, j]


@kernel
def update_hidden_state(V, activation, U, U_next, W_next, bias_next, M, residual):
    """``V = c + (U_next - c^ W_next^T) M``, ``c = act(U)``: the V_l-block, exactly.

    It minimises ``k |V - act(U)|^2 + |U_next - V^ W_next^T|^2``, where
    ``M = W_next (k I + W_next^T W_next)^-1`` comes from `state_operator`
    (it is the transpose of the usual ``(k I + W^T W)^-1 W^T``).

    Parameters
    ----------
    V : (m, d) array, float32 or float64
        States, written (their old value does not matter).
    activation : Formula
    U : (m, d) array
        Pre-activations of this layer.
    U_next : (m, d_next) array
        Pre-activations of the next layer.
    W_next : (d_next, d) array
        Weights of the next layer without bias, rows contiguous.
    bias_next : (d_next,) array
    M : (d_next, d) array
    residual : (m, d_next) array
        Work space.

    Notes
    -----
    Algorithm 2, V_l-line. 4 d d_next m flops in two products.
    """
    for i in range(V.shape[0]):
        for j in range(V.shape[1]):
            V[i, j] = activation.value(U[i, j])
    for i in range(residual.shape[0]):
        for j in range(residual.shape[1]):
            residual[i, j] = U_next[i, j] - bias_next[j]
    product_transposed(residual, V, W_next, -1.0, 1.0)
    product(V, residual, M, 1.0, 1.0)


@kernel
def activate(V, activation, U):
    """``V = act(U)``; V, U (m, d), may be the same array."""
    for i in range(V.shape[0]):
        for j in range(V.shape[1]):
            V[i, j] = activation.value(U[i, j])


@kernel
def activation_residual(activation, V, U):
    """``|V - act(U)|^2``, summed in float64; V, U (m, d)."""
    total = 0.0
    for i in range(V.shape[0]):
        for j in range(V.shape[1]):
            miss = np.float64(V[i, j]) - np.float64(activation.value(U[i, j]))
            total += miss * miss
    return total
