"""The V_L-block: proximal step of the loss, sample by sample."""

from __future__ import annotations

from fastbcd.kernels.jit import kernel


@kernel
def update_output_state(V, loss, U, below, Y, weight, gamma, alpha, work):
    """``V = argmin_v weight loss(v; y) + gamma/2 |v - b - u|^2 + alpha/2 |v - v'|^2``, by rows.

    Parameters
    ----------
    V : (m, k) array, float32 or float64
        Output states, updated in place; v' is its value on entry.
    loss : Formula
        See `fastbcd.kernels.losses`.
    U, Y : (m, k) array
        Pre-activations and targets of the same samples.
    below : (m, k) array or None
        b, the states below, where the output layer is residual; else None.
    weight, gamma, alpha : float
        ``weight, gamma > 0``, ``alpha >= 0``.
    work : (3, k) float64 array
        Work space.

    Notes
    -----
    Algorithms 2 and 3, first line: both quadratics merge into one, centred at
    ``(gamma (u + b) + alpha v') / (gamma + alpha)``, which leaves the prox of the loss.
    """
    quadratic = gamma + alpha
    share_u, share_v = gamma / quadratic, alpha / quadratic
    center = work[2]
    for i in range(V.shape[0]):
        for j in range(V.shape[1]):
            u = U[i, j] if below is None else U[i, j] + below[i, j]
            center[j] = share_u * u + share_v * V[i, j]
        loss.row_prox(V[i], center, work, Y[i], quadratic / weight)


@kernel
def update_output_state_linearised(V, loss, U, below, Y, weight, gamma, alpha, work):
    """Prox-linear V_L-block: the loss by its gradient at the old states.

    ``V = argmin_v weight <grad loss(v'), v> + gamma/2 |v - b - u|^2 + alpha/2 |v - v'|^2``

    Arguments as in `update_output_state`; the loss needs a gradient. It descends where
    ``alpha > max(0, (L - gamma) / 2)``, L the Lipschitz constant of weight times the gradient.

    Notes
    -----
    Prox-linear updates (1), (2) and Theorem 2.
    """
    gradient = work[0]
    for i in range(V.shape[0]):
        loss.row_gradient(gradient, V[i], Y[i])
        for j in range(V.shape[1]):
            u = U[i, j] if below is None else U[i, j] + below[i, j]
            V[i, j] = (gamma * u + alpha * V[i, j] - weight * gradient[j]) / (gamma + alpha)


@kernel
def loss_sum(loss, V, Y):
    """``sum_i loss(v_i; y_i)``, in float64; V, Y (m, k)."""
    total = 0.0
    for i in range(V.shape[0]):
        total += loss.row_value(V[i], Y[i])
    return total
