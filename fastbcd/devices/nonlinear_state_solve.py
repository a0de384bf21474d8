"""Algorithm 1's V_l-block below a nonlinear layer: models of its coupling, each with a search."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd import kernels
from fastbcd.devices.state_solve import StateSolve
from fastbcd.devices.tiles import Tile
from fastbcd.kernels import Formula

Array = NDArray[Any]


class NonlinearStateSolve:
    """A descent on the V_l-block, which has no closed form, by samples.

    ``s(V) + gamma/2 |V - A|^2 + gamma/2 |V_next - act(V^ W_next^T)|^2 + alpha/2 |V - V'|^2``

    Parameters
    ----------
    solve : StateSolve
        The model's solve: ``kappa = gamma + alpha``, ``rho = gamma c``.
    activation : Formula
        Of the layer above.
    curvature : float
        c, of the models; see `fastbcd.kernels.surrogate`.
    gamma, alpha : float
    """

    def __init__(
        self, solve: StateSolve, activation: Formula, curvature: float, gamma: float, alpha: float
    ) -> None:
        self.solve, self.activation, self.curvature = solve, activation, curvature
        self.gamma, self.alpha = gamma, alpha

    def update(
        self,
        tile: Tile,
        V: Array,
        A: Array,
        V_next: Array,
        steps: int,
        report: Array | None,
        *sample_weight: Array,
    ) -> None:
        """V of one tile by `steps` models, in place.

        `sample_weight` (m,), where given, is what samples count in the report.
        """
        gamma, alpha, penalty = self.gamma, self.alpha, self.solve.penalty
        above, scratch = self.solve.following, tile.scratch
        # gamma/2 |V - A|^2 + alpha/2 |V - V'|^2 = (gamma + alpha)/2 |V - C|^2 + const
        C = scratch.array("C", V.shape, V.dtype)
        kernels.proximal_center(C, A, V, gamma, alpha)
        Z = scratch.array("Z", V_next.shape, V.dtype)
        kernels.affine(Z, V, above.W, above.bias)
        terms = (V, A, penalty, Z, self.activation, V_next, gamma, *sample_weight)
        if report is not None:
            before, old = kernels.state_terms(*terms), V.copy()
        P = scratch.array("P", Z.shape, V.dtype)
        for _ in range(steps):
            end = self._minimiser_of_model(tile, V, C, Z, V_next)
            change = scratch.array("change", V.shape, V.dtype)
            np.subtract(end, V, out=change)
            kernels.product_transposed(P, change, above.W, 1.0, 0.0)
            kernels.search_states(
                V, end, C, Z, P, self.activation, V_next, penalty, gamma + alpha, gamma
            )
        if report is not None:
            moved = kernels.squared_distance(old, V, *sample_weight)
            report += before - kernels.state_terms(*terms), moved

    def _minimiser_of_model(self, tile: Tile, V: Array, C: Array, Z: Array, V_next: Array) -> Array:
        """The parabola's V: the V-block of Algorithm 2 with its target in place of U."""
        target = tile.scratch.array("target", Z.shape, V.dtype)
        kernels.surrogate_residual(target, self.activation, V_next, Z, self.curvature)
        target += Z
        end = tile.scratch.array("end", V.shape, V.dtype)
        end[:] = V
        scaled = tile.scratch.array("scaled C", V.shape, V.dtype)
        np.multiply(C, V.dtype.type(self.solve.scale), out=scaled)
        self.solve.solve(tile, end, scaled, target, None)
        return end
