"""The metric of the mini-batch W-block on the GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.kernels import cuda as kernels
from fastbcd.kernels.dense import qr
from fastbcd.support.stored import load_attributes, state_dict_of

# Keys in a file, and the attributes that they stand for; the others are hyperparameters.
STORED = {
    "Q": "Q",
    "level": "level",
    "directions": "directions",
    "image": "_image",
    "batches": "_batches",
    "trace_sum": "_trace_sum",
    "start": "_start",
}


class GramMetric:
    """As `fastbcd.devices.gram_metric.GramMetric`, which has the formulas; level is an array (1,).

    The singular values of the image and the next directions come from the eigenvectors of
    ``image^T image``: the smallest lose digits, which only directions without weight feel. Nothing
    asks the host, so that a renewal is part of a batch's graph.
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
        random = np.random.default_rng(seed).standard_normal((d, self.rank))
        self._start = device.array(qr(random)[0], dtype)
        self.Q = device.copy(self._start)
        self.level = device.array(np.ones(1), np.float64)
        self.directions = device.zeros((self.rank, d), dtype)
        self._image = device.zeros((d, self.rank), dtype)
        self._batches, self._trace_sum = (device.zeros((1,), np.float64) for _ in range(2))

    def state_dict(self) -> dict[str, Any]:
        """All that batches have changed, for a checkpoint; the arrays are those of this object."""
        return state_dict_of(self, STORED, version=1)

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Go on from `stored`, which `state_dict` gave; `InputError` names keys that are wrong."""
        load_attributes(self, stored, STORED)

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
        device, (d, r) = self.device, self.Q.shape
        scratch, library = device.scratch, device.library
        image = scratch.array("metric image", (d, r), np.float64)
        new = scratch.array("metric directions", (d, r), np.float64)
        squares = scratch.array("metric squares", (r, r), np.float64)
        vectors = scratch.array("metric vectors", (r, r), np.float64)
        coefficients, scale = scratch.array("metric values", (2, max(r, 1)), np.float64)
        shrinkage = scratch.array("metric shrinkage", (1,), np.float64)
        image[...] = self._image
        if r:
            library.gemm(squares, image, image, transpose_A=True)
            work = scratch.array("metric work", (2, r), np.float64)
            kernels.eigenvectors_in_a_block(squares, vectors, work)
        kernels.ritz_values(
            *(coefficients[:r], scale[:r], shrinkage, self.level, squares, vectors),
            *(self._trace_sum, self._batches, d, self.damping, self.ceiling, device.failures),
        )
        if r:
            library.gemm(new, image, vectors)
            kernels.turn_directions(
                *(self.Q, self.directions, new, self._start, scale[:r], coefficients[:r])
            )
        device.scaled(S, S, shrinkage)
        for sums in (self._image, self._batches, self._trace_sum):
            sums[...] = 0.0
        return True
