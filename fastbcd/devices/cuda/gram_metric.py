"""The metric of the mini-batch W-block on the GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.kernels import cuda as kernels
from fastbcd.kernels.dense import qr


class GramMetric:
    """As `fastbcd.devices.gram_metric.GramMetric`, which has the formulas; level is an array (1,).

    The singular values of the image's triangular factor come from the eigenvalues of ``R R^T``:
    the smallest lose digits, which only directions without weight feel.
    """

    def __init__(
        self,
        device: Any,
        d: int,
        rank: int,
        damping: float,
        dtype: Any,
        seed: int,
        ceiling: float = math.inf,
    ) -> None:
        self.damping, self.rank, self.ceiling = damping, min(rank, d), ceiling
        self.device = device
        start = np.random.default_rng(seed).standard_normal((d, self.rank))
        self.Q = device.array(qr(start)[0], dtype)
        self.level = device.array(np.ones(1), np.float64)
        self.directions = device.zeros((self.rank, d), dtype)
        self._image = device.zeros((d, self.rank), dtype)
        self._batches, self._trace_sum = (device.zeros((1,), np.float64) for _ in range(2))

    def project(self, out: Any, A: Any) -> None:
        """``out = A Q``; out (m, rank), A (m, d), V^ of some samples or N."""
        self.device.library.gemm(out, A, self.Q)

    def add(self, V: Any, projected: Any) -> None:
        """Count a batch: V (m, d), and `project`'s result for it."""
        self._trace_sum += kernels.squared_norm(V) / len(V)
        self.device.library.gemm(self._image, V, projected, 1.0 / len(V), 1.0, transpose_A=True)
        self._batches += 1

    def add_products(self, image: Any, trace: Any) -> None:
        """Count a batch by ``V^^T (V^ Q) / m`` (d, rank) and ``|V^|^2 / m``."""
        self._image += image
        self._trace_sum += trace
        self._batches += 1

    def renew(self, S: Any) -> bool:
        """Directions and level from the batches since the last time; S to their scale."""
        library, d, rank = self.device.library, len(self.Q), self.rank
        trace = self._trace_sum / self._batches
        image = self._image.astype(np.float64) / self._batches
        finite = library.isfinite(image).all() & library.isfinite(trace).all()
        failures = self.device.failures
        failures[...] = library.maximum(failures, (~finite).astype(np.int32))
        image = library.where(library.isfinite(image), image, 0.0)
        self._image[...] = 0.0
        self._batches[...] = 0.0
        self._trace_sum[...] = 0.0
        before = self.level.copy()
        if rank == 0:
            level = (1.0 + self.damping) * trace / d
        else:
            Q, R = library.qr(image)
            values, left = library.eigh(R @ R.T)
            e, left = library.maximum(values[::-1], 0.0) ** 0.5, left[:, ::-1]
            rest = library.maximum(trace - e.sum(), 0.0) / max(d - rank, 1)
            level = rest + self.damping * trace / d
            if rank < d:
                level = library.maximum(level, e[-1] / self.ceiling)
            above = library.maximum(e - rest, 0.0)
            Q = Q @ left
            self.Q[...] = library.where(finite, Q, self.Q)
            directions = (Q * (above / (level + above))).T
            self.directions[...] = library.where(finite, directions, self.directions)
        self.level[...] = library.where(finite, level, before)
        # After a batch of extreme values S is out of scale.
        ratio = self.level / before
        S *= library.where(ratio < 0.1, ratio, 1.0).astype(S.dtype)
        return True
