"""The V_l-block of a hidden layer: all samples share one linear operator."""

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
from fastbcd.kernels.coordinate_descent import coordinate_descent, coordinate_hessian
from fastbcd.kernels.jit import kernel


@kernel
def state_factor(factor, W, k, info):
    """Cholesky factor of ``k I + W W^T`` or ``k I + W^T W``, whichever is smaller.

    Parameters
    ----------
    factor : (s, s) float64 array, ``s = min(d_next, d)``
    W : (d_next, d) float64 array
        Weights of the next layer without their bias column.
    k : float
        Ratio of the two couplings, > 0.
    info : (1,) int32 array
        0, or LAPACK's code of a failed factorisation (W is not finite).
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
    """``M = W (k I + W^T W)^-1 = (k I + W W^T)^-1 W``, with the `factor` of `state_factor`.

    M (float32 or float64) and W (float64, overwritten) have the same shape. `tall` is
    ``d_next < d``. W may be some columns of the weights where `tall`, else some rows, so that
    several threads can share the work. info (1,) int32 receives LAPACK's code.
    """
    if tall:
        cholesky_solve_columns(W, factor)
    else:
        cholesky_solve(W, factor, info)
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            M[i, j] = W[i, j]


@kernel
def state_center(C, activation, U, below, activation_next, U_next, V_next, scale):
    """Minimiser c of the activation couplings over V_l, the first half of the V_l-block.

    .. code-block:: text

        c = scale / (1 + S_{l+1})
            (S_l V_{l-1} + act_l(U_l) + S_{l+1} (V_{l+1} - act_{l+1}(U_{l+1})))

    Parameters
    ----------
    C : (m, d) array, float32 or float64
        The result; may be V.
    activation : Formula
        Activation of layer l.
    U : (m, d) array
    below : (m, d) array or None
        ``V_{l-1}`` where layer l is residual, else None.
    activation_next : Formula
        Activation of layer l + 1.
    U_next : (m, d_next) array
    V_next : (m, d) array or None
        ``V_{l+1}`` where layer l + 1 is residual (``d_next = d``), else None.
    scale : float
        1, or less where a ridge on the states draws them towards 0.
    """
    factor = C.dtype.type(scale if V_next is None else 0.5 * scale)
    for i in range(C.shape[0]):
        for j in range(C.shape[1]):
            c = activation.value(U[i, j])
            if below is not None:
                c += below[i, j]
            if V_next is not None:
                c += V_next[i, j] - activation_next.value(U_next[i, j])
            C[i, j] = factor * c


@kernel
def solve_state(V, U_next, W_next, bias_next, M, residual):
    """``V = c + (U_next - c^ W_next^T) M``, with ``c`` given in V: the exact V_l-block.

    V minimises ``k |V - c|^2 + |U_next - V^ W_next^T|^2``. The operator
    ``M = W_next (k I + W_next^T W_next)^-1`` comes from `state_operator`; it is the transpose of
    the usual ``(k I + W^T W)^-1 W^T``.

    Parameters
    ----------
    V : (m, d) array, float32 or float64
        c on entry, the minimiser on exit.
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
    Algorithms 2 and 3, V_l-line. 4 d d_next m flops in two products.
    """
    for i in range(residual.shape[0]):
        for j in range(residual.shape[1]):
            residual[i, j] = U_next[i, j] - bias_next[j]
    product_transposed(residual, V, W_next, -1.0, 1.0)
    product(V, residual, M, 1.0, 1.0)


@kernel
def state_hessian(H, W, kappa, rho):
    """``H = kappa I + rho W^T W``, both triangles; H (d, d), W (d_next, d), float64."""
    gram(H, W, 0.0)
    coordinate_hessian(H, H, rho, kappa)


@kernel
def solve_state_penalised(
    V, C, penalty, U_next, W_next, bias_next, H, kappa, rho, tolerance, max_sweeps,
    residual, scaled_residual, slopes, work, decrease, sample_weight=None,
):  # fmt: skip
    """``argmin_V s(V) + kappa/2 |V - C|^2 + rho/2 |U_next - V^ W_next^T|^2``, warm-started.

    Parameters
    ----------
    V : (m, d) array, float32 or float64
        V' on entry, the minimiser on exit.
    C : (m, d) array
        From `state_center`.
    penalty : Formula
        See `fastbcd.kernels.penalties`.
    U_next, W_next, bias_next
        As in `solve_state`.
    H : (d, d) float64 array
        From `state_hessian`, with the same kappa and rho.
    kappa, rho : float
        Weights of the two terms, > 0.
    tolerance, max_sweeps
        As in `coordinate_descent`.
    residual, scaled_residual : (m, d_next), (m, d) arrays of V's type
    slopes, work : (m, d), (2, d) float64 arrays
        Work space.
    decrease, sample_weight
        As in `coordinate_descent`.

    Notes
    -----
    V_l-line of the algorithms. Two products, and d^2 multiplications a sample and sweep.
    """
    for i in range(residual.shape[0]):
        for j in range(residual.shape[1]):
            residual[i, j] = U_next[i, j] - bias_next[j]
    product_transposed(residual, V, W_next, -1.0, 1.0)
    product(scaled_residual, residual, W_next, rho, 0.0)
    for i in range(V.shape[0]):
        for j in range(V.shape[1]):
            gap = np.float64(C[i, j]) - np.float64(V[i, j])
            slopes[i, j] = kappa * gap + np.float64(scaled_residual[i, j])
    coordinate_descent(
        V, penalty, H, slopes, 1.0, 0, tolerance, max_sweeps, work[0], work[1], decrease,
        sample_weight,
    )  # fmt: skip


@kernel
def state_decrease(decrease, V, old, W_next, kappa, rho, work, sample_weight=None):
    """``decrease += sum_i c_i/2 (kappa |D_i|^2 + rho |D_i W_next^T|^2), sum_i c_i |D_i|^2``.

    ``D = V' - V``; the first number is the decrease of the V_l-block if V is its minimiser.
    decrease (2,) float64; `old` (m, d) holds V' on entry and D on exit; V (m, d), W_next
    (d_next, d); work (m, d_next) is work space; c is `sample_weight` (m,) float64, 1 for each
    where it is None.
    """
    moved = 0.0
    for i in range(V.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        for j in range(V.shape[1]):
            old[i, j] -= V[i, j]
            moved += c * (np.float64(old[i, j]) * np.float64(old[i, j]))
    product_transposed(work, old, W_next, 1.0, 0.0)
    through = 0.0
    for i in range(work.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        for j in range(work.shape[1]):
            through += c * (np.float64(work[i, j]) * np.float64(work[i, j]))
    decrease[0] += 0.5 * (kappa * moved + rho * through)
    decrease[1] += moved


@kernel
def state_decrease_by_gram(decrease, V, old, gram_next, kappa, rho, work):
    """`state_decrease` by ``|D W_next^T|^2 = <D^T D, W_next^T W_next>``.

    It takes fewer operations where W_next has more than d/2 rows. decrease, V, old, kappa and rho
    are those of `state_decrease`; gram_next (d, d) float64 is ``W_next^T W_next``; work (d, d) of
    V's type is work space.
    """
    moved = 0.0
    for i in range(V.shape[0]):
        square = V.dtype.type(0)  # of the loop's type: a wider type would halve the vectors
        for j in range(V.shape[1]):
            old[i, j] -= V[i, j]
            square += old[i, j] * old[i, j]
        moved += np.float64(square)
    gram(work, old, 0.0)
    diagonal = below = 0.0
    for i in range(work.shape[0]):
        diagonal += np.float64(work[i, i]) * gram_next[i, i]
        for j in range(i):
            below += np.float64(work[i, j]) * gram_next[i, j]
    decrease[0] += 0.5 * (kappa * moved + rho * (diagonal + 2.0 * below))
    decrease[1] += moved


@kernel
def activate(V, activation, U, below):
    """``V = S V_{l-1} + act(U)``, act being `activation`.

    V, U (m, d), may be the same array; below (m, d) is ``V_{l-1}``, or None for S = 0.
    """
    for i in range(V.shape[0]):
        for j in range(V.shape[1]):
            v = activation.value(U[i, j])
            V[i, j] = v if below is None else v + below[i, j]


@kernel
def activation_residual(activation, V, U, below, sample_weight=None):
    """``sum_i c_i |V_i - S (V_{l-1})_i - act(U_i)|^2``, in float64, act being `activation`.

    V, U (m, d); below (m, d) is ``V_{l-1}``, or None for S = 0; c is `sample_weight` (m,).
    """
    total = 0.0
    for i in range(V.shape[0]):
        c = 1.0 if sample_weight is None else sample_weight[i]
        for j in range(V.shape[1]):
            residual = np.float64(V[i, j]) - np.float64(activation.value(U[i, j]))
            if below is not None:
                residual -= np.float64(below[i, j])
            total += c * (residual * residual)
    return total
