"""The metric of the mini-batch W-block: a Gram matrix of which the leading directions are kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd import kernels
from fastbcd.kernels.dense import qr, svd, times
from fastbcd.support.stored import load_attributes, state_dict_of

Array = NDArray[Any]

# Keys in a file, and the attributes that they stand for; the others are hyperparameters.
STORED = {
    "Q": "Q",
    "level": "level",
    "directions": "directions",
    "image": "_image",
    "batches": "_batches",
    "trace_sum": "_trace_sum",
}


class GramMetric:
    """``H = G + damping tr(G)/d I`` with ``G = mean of v^ v^^T``, streamed, in low rank.

    .. code-block:: text

        G ~ Q diag(e) Q^T + rest (I - Q Q^T),   level = rest + damping tr(G)/d
        N H^-1 = (N - N Q directions) / level,   directions = diag(c) Q^T,
        c = (e - rest) / (level + e - rest)

    and level at least ``e_rank / ceiling``, so that no step goes too far in a direction that is
    large but not kept. Q (d, rank) are the leading eigenvectors, e their eigenvalues, rest the
    mean of the other eigenvalues. Each batch adds ``V^^T (V^ Q) / m``, an estimate of G Q, to a
    running mean; `refresh` makes that a step of the block power method. So nothing is d x d, and
    with a damping of 1 or more it is the few directions above the mean eigenvalue that matter.

    Parameters
    ----------
    d : int
        Columns of W, the bias included.
    rank : int
        Directions kept, at most d; 0 makes H a multiple of the identity.
    damping : float
    dtype
        Storage and products.
    seed : int
        Of the first Q.
    ceiling : float
        What ``G H^-1`` is at most in directions that are not kept, about.

    Notes
    -----
    Block power method on a stream: Mitliagkas, Caramanis, Jain (NeurIPS 2013).
    """

    def __init__(
        self, d: int, rank: int, damping: float, dtype: Any, seed: int, ceiling: float = math.inf
    ) -> None:
        self.damping, self.rank, self.ceiling = damping, min(rank, d), ceiling
        start = np.random.default_rng(seed).standard_normal((d, self.rank))
        self.Q = np.ascontiguousarray(qr(start)[0], dtype)
        self.level = 1.0
        self.directions = np.zeros_like(self.Q.T, order="C")
        self._image = np.zeros_like(self.Q)
        self._batches, self._trace_sum = 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """All that batches have changed, for a checkpoint; the arrays are those of this object."""
        return state_dict_of(self, STORED, version=1)

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Go on from `stored`, which `state_dict` gave; `InputError` names keys that are wrong."""
        load_attributes(self, stored, STORED)

    def project(self, out: Array, A: Array) -> None:
        """``out = A Q``; out (m, rank), A (m, d), V^ of some samples or N."""
        kernels.product(out, A, self.Q, 1.0, 0.0)

    def add(self, V: Array, projected: Array) -> None:
        """Count a batch: V (m, d), and `project`'s result for it."""
        self._trace_sum += kernels.squared_norm(V) / len(V)
        kernels.transposed_product(self._image, V, projected, 1.0 / len(V), 1.0)
        self._batches += 1

    def add_products(self, image: Array, trace: float) -> None:
        """Count a batch by ``V^^T (V^ Q) / m`` (d, rank) and ``|V^|^2 / m``."""
        self._image += image
        self._trace_sum += float(trace)
        self._batches += 1

    def renew(self, S: Array) -> bool:
        """`refresh`, and S (m, d), the momentum, to the new scale where that fell by far."""
        before = self.level
        if not self.refresh():
            return False
        if self.level < 0.1 * before:  # after a batch of extreme values S is out of scale
            S *= self.Q.dtype.type(self.level / before)
        return True

    def refresh(self) -> bool:
        """Directions, eigenvalues and level from the batches since the last time.

        False where their sums are not finite: then they are forgotten, and nothing else changes.
        """
        d = len(self.Q)
        trace = self._trace_sum / self._batches
        image = self._image.astype(np.float64) / self._batches
        self._image[:] = 0.0
        self._batches, self._trace_sum = 0, 0.0
        if not (np.isfinite(image).all() and np.isfinite(trace)):
            return False
        Q, R = qr(image)
        # |G q| of orthonormal q: the eigenvalue where q is an eigenvector, else between them.
        left, e, _ = svd(R)
        rest = max(trace - float(e.sum()), 0.0) / max(d - self.rank, 1)
        level = rest + self.damping * trace / d
        if 0 < self.rank < d:
            level = max(level, float(e[-1]) / self.ceiling)
        above = np.maximum(e - rest, 0.0)
        Q = times(Q, left)
        self.level, self.Q[:], self.directions[:] = level, Q, (Q * (above / (level + above))).T
        return True
