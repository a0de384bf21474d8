"""Steps of W that change the outputs of a batch alike in all directions."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.workspace import Buffer, Workspace, Workspaces
from fastbcd.kernels.dense import eigh

# What is added to each eigenvalue of S, in units of their mean. A batch is a sample: its smallest
# eigenvalues are noise, which would have the same share in the step as what it teaches.
SPECTRAL_DAMPING = 0.1


class SpectralWork(Workspace):
    """Work arrays of a thread: the directions before, and the d x d matrix."""

    before: Buffer
    matrix: Buffer


def spread(kernels: Any, Z: Any, M: Any, groups: int, thread: Workspaces) -> bool:
    """``Z = (S + 0.1 tr(S)/d I)^(-1/2) Z`` with ``S = Z M^T``, in place.

    With ``Z = M H^-1``, S is ``M H^-1 M^T``. Without damping the result is

    .. code-block:: text

        argmax <Z, M>  such that  |Z H^(1/2)|_2 <= 1,   Z H Z^T = I

    with the spectral norm: of all steps that change the outputs ``V^ Z^T`` by at most 1 in the root
    mean square in every direction, the one that M favours most. It changes them by 1 in each.

    Parameters
    ----------
    kernels : module
        Products on the processor.
    Z, M : (d, d_in + 1) arrays
        Directions and momentum of a layer.
    groups : int
        Groups of rows that see different inputs, each of which has an S of its own.
    thread : Workspaces

    Returns
    -------
    bool
        Whether all numbers are finite. Otherwise Z has not changed, or in some groups only.

    Notes
    -----
    Spectral descent is from Carlson and others (NeurIPS 2015); with H = I it is the step of Muon.
    """
    size = len(Z) // groups
    work = thread.of(SpectralWork)
    before = work.before.array((size, Z.shape[1]), Z.dtype)
    matrix = work.matrix.array((size, size), Z.dtype)
    for start in range(0, len(Z), size):
        own, momentum = Z[start : start + size], M[start : start + size]
        kernels.product_transposed(matrix, own, momentum, 1.0, 0.0)
        if not np.isfinite(matrix).all():
            return False
        root = inverse_root(kernels, matrix)
        if root is not None:
            before[:] = own
            kernels.product(own, root, before, 1.0, 0.0)
    return True


def inverse_root(kernels: Any, S: Any) -> Any:
    """Return ``(S + 0.1 tr(S)/d I)^(-1/2)`` in the dtype of S; None if no eigenvalue is above 0.

    S is symmetric and positive semidefinite but for rounding. Rounding moves eigenvalues by about
    eps tr(S), a small part of what is added to them, so float32 is enough.
    """
    dtype, largest = S.dtype.type, float(abs(S).max())
    if largest < np.finfo(np.float64).tiny:
        return None
    unit = (0.5 / largest * (S.astype(np.float64) + S.T)).astype(dtype)
    values, vectors = eigh(unit)
    values = np.maximum(values, 0.0)  # what is below is rounding
    mean = values.mean(dtype=np.float64)
    if mean == 0.0:
        return None
    root = np.empty_like(vectors)
    factors = ((values + SPECTRAL_DAMPING * mean) ** -0.5).astype(dtype)
    kernels.product_transposed(root, vectors * factors, vectors, largest**-0.5, 0.0)
    return root
