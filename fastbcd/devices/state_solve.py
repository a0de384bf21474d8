"""The V_l-block of a hidden layer, prepared once for all samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd import kernels
from fastbcd.devices.layer import ForEachBlock, Layer
from fastbcd.devices.tiles import Scratch, Tile
from fastbcd.kernels import Penalty

# Sweeps over a sample: fewer than over a row of W, because there are so many samples.
MAX_SWEEPS = 200

Array = NDArray[Any]


class StateSolve:
    """``V = argmin_V s(V) + kappa/2 |V - C|^2 + rho/2 |U_next - V^ W_next^T|^2``.

    Where s is a ridge, one linear operator gives all samples' solutions; else coordinate
    descent runs on the Hessian that they share.

    Parameters
    ----------
    following : Layer
        The layer above: ``W_next`` and its bias.
    penalty : Penalty
        s.
    kappa, rho : float
        > 0.
    for_each_block, scratch
        As in `NormalEquations`.
    """

    def __init__(
        self,
        following: Layer,
        penalty: Penalty,
        kappa: float,
        rho: float,
        for_each_block: ForEachBlock,
        scratch: Scratch,
    ) -> None:
        self.following, self.penalty, self.kappa, self.rho = following, penalty, kappa, rho
        ridge = penalty.ridge
        # The ridge and the pull of C merge: kappa/2 |v - C|^2 + ridge/2 |v|^2.
        self.scale = 1.0 if ridge is None else kappa / (kappa + ridge)
        """What C is to be multiplied with."""
        if ridge is None:
            d = following.W.shape[1]
            self._hessian = np.empty((d, d))
            kernels.state_hessian(self._hessian, following.W.astype(np.float64), kappa, rho)
        else:
            self.kappa = kappa + ridge
            following.prepare_operator(self.kappa / rho, for_each_block, scratch)

    def center(self, tile: Tile, V: Array, measured: bool) -> Array:
        """Where to write C: V's own memory, unless the solve has a use for the old V."""
        if self.penalty.ridge is None or measured:
            return tile.scratch.array("state center", V.shape, V.dtype)
        return V

    def solve(
        self,
        tile: Tile,
        V: Array,
        C: Array,
        U_next: Array,
        report: Array | None,
        *sample_weight: Array,
    ) -> None:
        """V of one tile, in place; C comes scaled with `scale`; see `fastbcd.kernels`.

        `sample_weight` (m,), where given, is what samples count in the report.
        """
        next_layer, scratch = self.following, tile.scratch
        residual = scratch.array("state residual", U_next.shape, V.dtype)
        if self.penalty.ridge is None:
            kernels.solve_state_penalised(
                *(V, C, self.penalty, U_next, next_layer.W, next_layer.bias, self._hessian),
                *(self.kappa, self.rho, 2.0 * float(np.finfo(V.dtype).eps), MAX_SWEEPS),
                *(residual, scratch.array("state pull", V.shape, V.dtype)),
                scratch.array("state slopes", V.shape, np.float64),
                scratch.array("state work", (2, V.shape[1]), np.float64),
                *(report, *sample_weight),
            )
            return
        if report is not None:
            old = scratch.array("old V", V.shape, V.dtype)
            old[:] = V
        if C is not V:
            V[:] = C
        kernels.solve_state(V, U_next, next_layer.W, next_layer.bias, next_layer.M, residual)
        if report is not None:
            kernels.state_decrease(
                *(report, V, old, next_layer.W, self.kappa, self.rho, residual, *sample_weight)
            )
