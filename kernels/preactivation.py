"""The U_l-block: elementwise global proximal step of the activation."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.blas import product_transposed
from fastbcd.kernels.jit import kernel


@kernel
def affine(out, V, W, bias):
    """``out = V W^T + bias``; V (m, d_in), W (d_out, d_in), bias (d_out,), out (m, d_out)."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = bias[j]
    product_transposed(out, V, W, 1.0, 1.0)


@kernel
def quick_prox_row(out, activation, a, c, q):
    """``out_j = argmin_u (a_j - act(u))^2 + q (u - c_j)^2``, globally; out, a, c (d,).

    For activations with `quick_prox`: a vectorised loop of it first, then `prox` for the elements
    where it gives NaN.
    """
    zero, one = out.dtype.type(0), out.dtype.type(1)
    n_open = zero  # of the loop's type: a wider type would halve the vectors
    for j in range(out.shape[0]):
        new = activation.quick_prox(a[j], c[j], q)
        out[j] = new
        n_open += one if new != new else zero
    if n_open > zero:
        for j in range(out.shape[0]):
            if np.isnan(out[j]):
                out[j] = activation.prox(a[j], c[j], q)


@kernel
def update_preactivation(
    U, activation, V, below, B, gamma, rho, alpha, decrease, sample_weight=None
):  # fmt: skip
    """``U = argmin_u gamma (a - act(u))^2 + rho (u - B)^2 + alpha (u - u')^2``, globally.

    Parameters
    ----------
    U : (m, d) array, float32 or float64
        Pre-activations, updated in place; u' is its value on entry.
    activation : Formula
        See `fastbcd.kernels.activations`.
    V : (m, d) array
        States of the layer; ``a = V - S V_{l-1}``.
    below : (m, d) array or None
        ``V_{l-1}`` where the layer is residual, else None.
    B : (m, d) array
        ``V^_{l-1} W_l^T`` on entry; on exit the residual ``U - B`` that the W-block needs.
    gamma, rho, alpha : float
        Weights of the two couplings and of the proximal term, ``alpha >= 0``.
    decrease : (2,) float64 array or None
        The decrease of ``1/2 (gamma |a - act(U)|^2 + rho |U - B|^2)`` and ``|U - U'|^2`` are
        added to it.
    sample_weight : (m,) float64 array, optional
        Weights of the samples in `decrease`; default: 1.

    Notes
    -----
    Algorithms 2 and 3, U_l-line (and U_L-line, with the linear activation and alpha 0): the
    two quadratics in u merge into ``q (u - c)^2`` with ``q = (rho + alpha) / gamma``,
    ``c = (rho b + alpha u') / (rho + alpha)``.
    """
    T = U.dtype.type
    q = T((rho + alpha) / gamma)
    share_b, share_u = T(rho / (rho + alpha)), T(alpha / (rho + alpha))
    g, r = T(gamma), T(rho)
    fallen = moved = 0.0
    a_row, c_row = np.empty(U.shape[1], U.dtype), np.empty(U.shape[1], U.dtype)
    solution = np.empty(U.shape[1], U.dtype)
    for i in range(U.shape[0]):
        if activation.has_quick_prox:
            for j in range(U.shape[1]):
                a_row[j] = V[i, j] if below is None else V[i, j] - below[i, j]
                c_row[j] = share_b * B[i, j] + share_u * U[i, j]
            quick_prox_row(solution, activation, a_row, c_row, q)
        c = 1.0 if sample_weight is None else sample_weight[i]
        for j in range(U.shape[1]):
            a, b, old = V[i, j], B[i, j], U[i, j]
            if below is not None:
                a -= below[i, j]
            if activation.has_quick_prox:
                new = solution[j]
            else:
                new = activation.prox(a, share_b * b + share_u * old, q)
            U[i, j] = new
            B[i, j] = new - b
            if decrease is not None:
                residual_old, residual_new = a - activation.value(old), a - activation.value(new)
                gap_old, gap_new, change = old - b, new - b, old - new
                fallen += c * np.float64(
                    g * (residual_old - residual_new) * (residual_old + residual_new)
                    + r * change * (gap_old + gap_new)
                )
                moved += c * np.float64(change * change)
    if decrease is not None:
        decrease[0] += 0.5 * fallen
        decrease[1] += moved


@kernel
def displacement(D, T, U, activation, gamma, rho):
    """``D = argmin_u gamma (act(U) + D - act(u))^2 + rho (u - U)^2 - U``; returns ``|D|^2``.

    The update of the pre-activations: the U_l-block from consistent states,
    ``V_l - S V_{l-1} = act(U)``, after an update D of V_l.

    Parameters
    ----------
    D : (m, d) array, float32 or float64
        The update of ``V_l`` on entry, the update of ``U_l`` on exit.
    T : (m, d) array or None
        Receives the coupling residual ``act(U) + D - act(u)``; None to leave it out.
    U : (m, d) array
        Pre-activations, not changed.
    activation : Formula
        See `fastbcd.kernels.activations`.
    gamma, rho : float
        Weights of the two couplings.
    """
    q = U.dtype.type(rho / gamma)
    total = 0.0
    a_row, solution = np.empty(U.shape[1], U.dtype), np.empty(U.shape[1], U.dtype)
    for i in range(U.shape[0]):
        if activation.has_quick_prox:
            for j in range(U.shape[1]):
                a_row[j] = activation.value(U[i, j]) + D[i, j]
            quick_prox_row(solution, activation, a_row, U[i], q)
        square = U.dtype.type(0)  # of the loop's type: a wider type would halve the vectors
        for j in range(U.shape[1]):
            old = U[i, j]
            a = a_row[j] if activation.has_quick_prox else activation.value(old) + D[i, j]
            new = solution[j] if activation.has_quick_prox else activation.prox(a, old, q)
            D[i, j] = new - old
            square += (new - old) * (new - old)
            if T is not None:
                T[i, j] = a - activation.value(new)
        total += np.float64(square)
    return total
