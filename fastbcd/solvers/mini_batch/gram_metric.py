"""The metric of the mini-batch W-block: a Gram matrix of which the leading directions are kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.kernels.dense import qr
from fastbcd.support.stored import load_attributes, state_dict_of

# Keys in a file, and the attributes that they stand for; the others are hyperparameters.
STORED = {
    "Q": "Q",
    "level": "level",
    "directions": "directions",
    "sketch": "sketch",
    "batches": "batches",
    "trace_sum": "trace_sum",
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
    running mean; `renew` makes that a step of the block power method. So nothing is d x d, and
    with a damping of 1 or more it is the few directions above the mean eigenvalue that matter.

    Parameters
    ----------
    device : Device
        It holds the arrays; a number that changes is one of its `scalar`.
    d : int
        Columns of W, the bias included.
    rank : int
        Directions kept, at most d; 0 makes H a multiple of the identity.
    damping : float
    dtype
        Storage and products.
    seed : int
        Seed of the first Q.
    ceiling : float
        A bound on ``G H^-1`` in directions that are not kept, about.

    Notes
    -----
    Block power method on a stream: Mitliagkas, Caramanis, Jain (NeurIPS 2013).
    """

    def __init__(
        self,
        device: Device,
        d: int,
        rank: int,
        damping: float,
        dtype: Any,
        seed: int,
        ceiling: float = math.inf,
    ) -> None:
        self.damping, self.rank, self.ceiling = damping, min(rank, d), ceiling
        first = np.random.default_rng(seed).standard_normal((d, self.rank))
        self.first = device.array(qr(first)[0], dtype)
        self.Q = device.copy(self.first)
        self.level = device.batches.scalar(1.0)
        self.directions = device.zeros((self.rank, d), dtype)
        self.sketch = device.zeros((d, self.rank), dtype)
        self.batches, self.trace_sum = device.batches.scalar(0), device.batches.scalar(0.0)

    def state_dict(self) -> dict[str, Any]:
        """All that batches have changed, for a checkpoint; the arrays are those of this object."""
        return state_dict_of(self, STORED, version=1)

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Go on from `stored`, which `state_dict` gave; `InputError` names keys that are wrong."""
        load_attributes(self, stored, STORED)

    def project(self, kernels: Any, out: Any, A: Any) -> None:
        """``out = A Q``; out (m, rank), A (m, d), V^ of some samples or N."""
        kernels.product(out, A, self.Q, 1.0, 0.0)

    def add(self, kernels: Any, V: Any, projected: Any) -> None:
        """Count a batch: V (m, d), and what `project` made of it."""
        self.trace_sum += kernels.squared_norm(V) / len(V)
        kernels.transposed_product(self.sketch, V, projected, 1.0 / len(V), 1.0)
        self.batches += 1

    def add_products(self, sketch: Any, trace: Any) -> None:
        """Count a batch by ``V^^T (V^ Q) / m`` (d, rank) and ``|V^|^2 / m``."""
        self.sketch += sketch
        self.trace_sum += trace
        self.batches += 1

    def renew(self, device: Device, S: Any) -> bool:
        """Directions and level from the batches since the last time.

        S (m, d), the momentum, is brought to the new scale where that fell by far: after a batch
        of extreme values it is out of scale. False where the sums are not finite: then they are
        forgotten, and nothing else changes.
        """
        return device.batches.renew_metric(self, S)
