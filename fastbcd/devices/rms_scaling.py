"""Sizes of a mini-batch's displacements: what scales them, and what steps of W make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Sizes = NDArray[np.float64]
# A displacement that misses its size by such a factor is measured anew, in so many passes at most.
TOLERANCE, PASSES = 30.0, 4


class RMSScaling:
    """Root mean squares of U_l and D_l, and the gains ``rms(D_l) / rms(D_{l+1})``, l = 1..L.

    `scale` comes from sizes and gains of the batch before, so that each tile can go through all
    layers, up and down, in one piece; where this batch is so different that displacements miss
    their size by far, `settle` asks for another pass, with its own.

    Parameters
    ----------
    device : CPU
    state : MiniBatchState
        Its ``gains``, ``rms_U`` and ``rms_D`` (L + 1,) are renewed.
    counts : (L + 1,) float64 array
        Elements of U_l in this batch.
    responses : (L + 1,) float64 array
        By how much a unit of ``D_{l+1} W_{l+1}`` (l = L: of the loss's slope) displaces U_l.
    displacement : float
        What rms(D_l) is to be, relative to rms(U_l).
    rounding : float
        ``rms(D_L) <= rounding rms(U_L)``: nothing is left to learn.
    share : float
        A step's weight is this over rms(D_l).
    """

    passes = PASSES

    def __init__(
        self,
        device: Any,
        state: Any,
        counts: Sizes,
        responses: Sizes,
        displacement: float,
        rounding: float,
        share: float,
    ) -> None:
        self._state, self._counts, self._responses = state, counts, responses
        self._displacement, self._rounding, self._share = displacement, rounding, share
        self._L, self._scale, self._learns = len(counts) - 1, np.ones(len(counts)), False

    def scale(self) -> Any:
        """What D_{l+1} counts times on its way down, from sizes and gains of the batch before."""
        L, state = self._L, self._state
        wanted = self._displacement * state.rms_U
        wanted[L] = state.rms_D[L]
        # Not by rms(D_{l+1}) of the batch before: each layer's fluctuation would double the next's.
        above = state.gains[1:L] * wanted[2:]
        self._scale = np.ones(L + 1)
        self._scale[1:L] = wanted[1:L] / np.where(above > 0.0, above, 1.0)
        return self._scale

    def settle(self, squares: Any) -> bool:
        """Take ``|U_l|^2`` and ``|D_l|^2`` (2, L + 1) of this batch; False to have another pass.

        `FloatingPointError` where they are not finite.
        """
        L, state, scale = self._L, self._state, self._scale
        rms_U, rms_D = np.sqrt(squares / self._counts)
        if not (np.isfinite(rms_U).all() and np.isfinite(rms_D).all()):
            raise FloatingPointError("states are not finite any more")
        self._learns = bool(rms_D[L] > self._rounding * rms_U[L])
        if not self._learns:
            return True
        moves = np.flatnonzero((rms_D[1:L] > 0.0) & (rms_D[2:] > 0.0)) + 1
        state.gains[moves] = rms_D[moves] / (scale[moves] * rms_D[moves + 1])
        state.rms_U, state.rms_D = rms_U, rms_D
        with np.errstate(divide="ignore"):  # states are all 0 where inputs are
            sizes = rms_D[moves] / (self._displacement * rms_U[moves])
        return bool(((sizes < TOLERANCE) & (sizes > 1.0 / TOLERANCE)).all())

    def weights(self) -> tuple[Any, Any]:
        """What ``D_l^T V^_{l-1}`` weighs in S_l, and how far a unit of the loss's negative
        gradient displaces U_l, in units of rms(D_l); (L + 1,) each.

        Where nothing is displaced (every margin of a hinge is wide enough) the weight is 0.
        """
        L, state, scale = self._L, self._state, self._scale
        weight, reach = np.zeros(L + 1), np.ones(L + 1)
        if self._learns:
            moves = state.rms_D > 0.0
            weight[moves] = self._share / state.rms_D[moves]
            for l in range(L, 0, -1):
                reach[l] = self._responses[l] * (scale[l] * reach[l + 1] if l < L else 1.0)
            reach[moves] /= state.rms_D[moves]
        return weight, reach

    def moves(self, weight: Any) -> bool:
        """Whether a layer of that `weight` is to take a penalty's proximal step."""
        return bool(weight > 0.0)
