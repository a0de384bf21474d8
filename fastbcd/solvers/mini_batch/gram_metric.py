"""The metric of the mini-batch W-block: a Gram matrix by its leading eigenvectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.kernels.dense import qr
from fastbcd.layers import Layer
from fastbcd.support.stored import load_attributes, state_dict_of

# Keys in a file, and the names of their attributes; all other attributes are hyperparameters.
STORED = {
    "Q": "Q",
    "level": "level",
    "directions": "directions",
    "sketch": "sketch",
    "batches": "batches",
    "trace_sum": "trace_sum",
}


class GramMetric:
    """``H = G + damping tr(G)/d I`` with G the running mean of ``v v^T``, in low rank.

    .. code-block:: text

        G ~ Q diag(e) Q^T + rest (I - Q Q^T),   level = rest + damping tr(G)/d
        N H^-power = (N - N Q directions) / level^power,   directions = diag(c) Q^T,
        c = 1 - (level / (level + e - rest))^power

    Q (d, rank) are the leading eigenvectors, e their eigenvalues, rest the mean of the other
    eigenvalues, `directions` (rank, d) the scaled eigenvectors. level is at least
    ``e_rank / ceiling``, so that no step goes too far in a large direction that is not kept. Each
    batch adds ``V^T (V Q) / m``, an estimate of G Q, to the `sketch`; `renew` takes a step of the
    block power method with it. So no array is d x d. With a damping of 1 or more only the few
    directions above the mean eigenvalue matter. The v are the states V^ below a layer, or the
    updates of its pre-activations (`OutputMetrics`).

    Parameters
    ----------
    device : Device
        Device of the arrays and of the numbers that batches change.
    d : int
        Columns of W, the bias included.
    rank : int
        Number of eigenvectors kept, at most d; with 0, H is a multiple of the identity.
    damping : float
    dtype
        Type of storage and products.
    seed : int
        Seed of the first Q.
    ceiling : float
        An approximate bound on ``G H^-1`` in directions that are not kept.
    power : {1, 0.5}
        The power of H^-1 that `directions` make.
    remembered : int
        After `renew` the mean counts as so many batches at most, in the next one. With 0 the mean
        is that of the batches since the last call.

    Notes
    -----
    The block power method on a stream is from Mitliagkas, Caramanis, Jain (NeurIPS 2013).
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
        power: float = 1.0,
        remembered: int = 0,
    ) -> None:
        self.damping, self.rank, self.ceiling = damping, min(rank, d), ceiling
        self.power, self.remembered = power, remembered
        first = np.random.default_rng(seed).standard_normal((d, self.rank))
        self.first = device.array(qr(first)[0], dtype)
        self.Q = device.copy(self.first)
        self.level = device.batches.scalar(1.0)
        self.directions = device.zeros((self.rank, d), dtype)
        self.sketch = device.zeros((d, self.rank), dtype)
        self.batches, self.trace_sum = device.batches.scalar(0), device.batches.scalar(0.0)

    def state_dict(self) -> dict[str, Any]:
        """Return all that batches change, for a checkpoint; arrays are not copied."""
        return state_dict_of(self, STORED, version=1)

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Take over `stored`, a result of `state_dict`; `InputError` names wrong keys."""
        load_attributes(self, stored, STORED)

    def project(self, kernels: Any, out: Any, A: Any) -> None:
        """``out = A Q``; out (m, rank), A (m, d): rows of the momentum."""
        kernels.product(out, A, self.Q, 1.0, 0.0)

    def add(self, kernels: Any, V: Any, projected: Any, layer: Layer) -> None:
        """Add a batch to the means: V is V^, `projected` is from `Layer.batch_project`."""
        share = 1.0 / len(V)
        squares = layer.batch_sketch(kernels, self.sketch, V, self.Q, projected, share, 1.0)
        self.count(squares / len(V))

    def add_products(self, sketch: Any, trace: Any) -> None:
        """Add a batch to the means: `sketch` ``V^^T (V^ Q) / m`` and `trace` ``|V^|^2 / m``."""
        self.sketch += sketch
        self.count(trace)

    def count(self, trace: Any) -> None:
        """Count a batch whose products are in the sketch, and add its `trace` ``|V^|^2 / m``."""
        self.trace_sum += trace
        self.batches += 1

    def renew(self, device: Device, M: Any) -> bool:
        """Compute Q, directions and level from the batches since the last call.

        M (m, d) is the momentum, or None. If level fell to less than a tenth, as after a batch of
        extreme values, M is scaled down in proportion. Returns False if the sums are not finite;
        then they are reset, and nothing else changes.
        """
        return device.batches.renew_metric(self, M)
