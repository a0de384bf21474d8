"""The V_l-blocks of a hidden layer on the GPU, prepared once for all samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.cuda.layer import Layer
from fastbcd.devices.state_solve import MAX_SWEEPS
from fastbcd.kernels import Formula, Penalty
from fastbcd.kernels.cuda.target import ROW_BLOCKS


class StateSolve:
    """``V = argmin_V s(V) + kappa/2 |V - C|^2 + rho/2 |U_next - V^ W_next^T|^2``.

    As `fastbcd.devices.state_solve.StateSolve`; rho may be an array of one on the GPU.
    """

    def __init__(
        self, device: Any, following: Layer, penalty: Penalty, kappa: float, rho: Any
    ) -> None:
        self.following, self.penalty, self.kappa, self.rho = following, penalty, kappa, rho
        self._library, self._kernels = device.library, device.kernels
        ridge = penalty.ridge
        self.scale = 1.0 if ridge is None else kappa / (kappa + ridge)
        if ridge is None:
            d = following.W.shape[1]
            W = device.scratch.array("cross", following.W.shape, np.float64)
            W[...] = following.W
            gram = device.scratch.array("gram", (d, d), np.float64)
            self._library.gram(gram, W)
            self._hessian = device.empty((d, d), np.float64)
            self._kernels.coordinate_hessian(self._hessian, gram, rho, kappa)
        else:
            self.kappa = kappa + ridge
            following.prepare_operator(self.kappa / rho, self._library, device.scratch)

    def center(self, tile: Any, V: Any, measured: bool) -> Any:
        """Where to write C: V's own memory, unless the solve has a use for the old V."""
        if self.penalty.ridge is None or measured:
            return tile.scratch.array("state center", V.shape, V.dtype)
        return V

    def solve(self, tile: Any, V: Any, C: Any, U_next: Any, report: Any) -> None:
        """V of one tile, in place; C comes scaled with `scale`."""
        above, scratch, kernels = self.following, tile.scratch, self._kernels
        residual = scratch.array("state residual", U_next.shape, V.dtype)
        if self.penalty.ridge is None:
            kernels.residual_of_bias(residual, U_next, above.bias)
            kernels.product_transposed(residual, V, above.W, -1.0, 1.0)
            pull = scratch.array("state pull", V.shape, V.dtype)
            kernels.product(pull, residual, above.W, 1.0, 0.0)
            slopes = scratch.array("state slopes", V.shape, np.float64)
            kernels.state_slopes(slopes, C, V, pull, self.kappa, self.rho)
            shape = (min(len(V), ROW_BLOCKS), V.shape[1])
            kernels.coordinate_descent(
                *(V, self.penalty, self._hessian, slopes, 1.0, 0),
                *(2.0 * float(np.finfo(V.dtype).eps), MAX_SWEEPS),
                scratch.array("descent gradients", shape, np.float64),
                scratch.array("descent rows", shape, np.float64),
                report,
            )
            return
        if report is not None:
            old = scratch.array("old V", V.shape, V.dtype)
            old[...] = V
        if C is not V:
            V[...] = C
        # V = c + (U_next - c^ W_next^T) M
        kernels.residual_of_bias(residual, U_next, above.bias)
        kernels.product_transposed(residual, V, above.W, -1.0, 1.0)
        kernels.product(V, residual, above.M, 1.0, 1.0)
        if report is not None:
            moved = kernels.displacement_of_states(old, V)
            kernels.product_transposed(residual, old, above.W, 1.0, 0.0)
            through = kernels.squared_norm(residual)
            kernels.add_state_decrease(report, moved, through, self.kappa, self.rho)


class NonlinearStateSolve:
    """A descent on Algorithm 1's V_l-block, which has no closed form, by samples.

    As `fastbcd.devices.nonlinear_state_solve.NonlinearStateSolve`, which has the formulas;
    curvature may be an array of one on the GPU.
    """

    def __init__(
        self,
        kernels: Any,
        solve: StateSolve,
        activation: Formula,
        curvature: Any,
        gamma: float,
        alpha: float,
    ) -> None:
        self._kernels, self.solve = kernels, solve
        self.activation, self.curvature = activation, curvature
        self.gamma, self.alpha = gamma, alpha

    def update(self, tile: Any, V: Any, A: Any, V_next: Any, steps: int, report: Any) -> None:
        """V of one tile by `steps` models, in place."""
        gamma, alpha, penalty = self.gamma, self.alpha, self.solve.penalty
        kernels, above, scratch = self._kernels, self.solve.following, tile.scratch
        C = scratch.array("C", V.shape, V.dtype)
        kernels.proximal_center(C, A, V, gamma, alpha)
        Z = scratch.array("Z", V_next.shape, V.dtype)
        kernels.affine(Z, V, above.W, above.bias)
        terms = (V, A, penalty, Z, self.activation, V_next, gamma)
        if report is not None:
            before, old = kernels.state_terms(*terms), V.copy()
        P = scratch.array("P", Z.shape, V.dtype)
        for _ in range(steps):
            end = self._minimiser_of_model(tile, V, C, Z, V_next)
            change = end - V
            kernels.product_transposed(P, change, above.W, 1.0, 0.0)
            kernels.search_states(
                V, end, C, Z, P, self.activation, V_next, penalty, gamma + alpha, gamma
            )
        if report is not None:
            report[0] += before - kernels.state_terms(*terms)
            report[1] += kernels.squared_distance(old, V)

    def _minimiser_of_model(self, tile: Any, V: Any, C: Any, Z: Any, V_next: Any) -> Any:
        """The parabola's V: the V-block of Algorithm 2 with its target in place of U."""
        target = tile.scratch.array("target", Z.shape, V.dtype)
        self._kernels.surrogate_residual(target, self.activation, V_next, Z, self.curvature)
        target += Z
        end = tile.scratch.array("end", V.shape, V.dtype)
        end[...] = V
        scaled = tile.scratch.array("scaled C", V.shape, V.dtype)
        self._kernels.scaled(scaled, C, V.dtype.type(self.solve.scale))
        self.solve.solve(tile, end, scaled, target, None)
        return end
