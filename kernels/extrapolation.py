"""Extrapolation of states along their last difference, which is kept in bfloat16.

A bfloat16 is the upper half of a float32's bits: 8 significant bits, in a uint16 array. An
iterate is extrapolated by ``V = V + beta D``, and the point before it is ``P = V - beta D`` up to
rounding in the type of V. So an iteration needs no copy of the point that it started from.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import kernel, straight


@straight
def from_bfloat16(bits):
    """Return the float32 of the `bits` of a bfloat16."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@straight
def to_bfloat16(x):
    """Return the bits of `x`, rounded to the nearest bfloat16, ties to even; x is not NaN."""
    bits = np.float32(x).view(np.uint32)
    odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
    return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))


@kernel
def extrapolate(V, D, beta, penalty, P=None):
    """``P = V``, ``V = V + beta D`` where s(V) stays finite; elsewhere V stays, and D becomes 0.

    Parameters
    ----------
    V : (m, d) array, float32 or float64
        States or pre-activations, updated in place.
    D : (m, d) uint16 array
        Differences, as the bits of bfloat16 numbers.
    beta : float
    penalty : Formula or None
        s, see `fastbcd.kernels.penalties`; None where it is finite everywhere.
    P : (m, d) array, optional
        Receives V as it is on entry.

    Notes
    -----
    An element whose momentum is dropped can be told from its D, so that `before_extrapolation`
    finds the old V of every element.
    """
    b = V.dtype.type(beta)
    for i in range(V.shape[0]):
        if penalty is None:
            for j in range(V.shape[1]):
                if P is not None:
                    P[i, j] = V[i, j]
                V[i, j] += b * from_bfloat16(D[i, j])
        else:
            for j in range(V.shape[1]):
                if P is not None:
                    P[i, j] = V[i, j]
                new = V[i, j] + b * from_bfloat16(D[i, j])
                if np.float64(new) == penalty.prox(np.float64(new), 0.0):
                    V[i, j] = new
                else:
                    D[i, j] = 0


@kernel
def before_extrapolation(P, V, D, beta):
    """``P = V - beta D``; P, V (m, d) of one type, D (m, d) as in `extrapolate`."""
    b = V.dtype.type(beta)
    for i in range(V.shape[0]):
        for j in range(V.shape[1]):
            P[i, j] = V[i, j] - b * from_bfloat16(D[i, j])


@kernel
def difference(D, V, P, sample_weight=None):
    """``D = V - P``, rounded to bfloat16; returns ``sum_i c_i |V_i - P_i|^2``, not rounded.

    D (m, d) uint16; V, P (m, d) of one type; c is `sample_weight` (m,) float64, 1 for each where it
    is None.
    """
    total = 0.0
    for i in range(V.shape[0]):
        square = V.dtype.type(0)  # of the loop's type: a wider type would halve the vectors
        for j in range(V.shape[1]):
            gap = V[i, j] - P[i, j]
            square += gap * gap
            D[i, j] = to_bfloat16(gap)
        total += np.float64(square) * (1.0 if sample_weight is None else sample_weight[i])
    return total
