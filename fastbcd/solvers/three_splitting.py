"""Algorithms 2 and 3: three-splitting block coordinate descent, plain and residual."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.tiles import Tile
from fastbcd.solvers.base import BlockCoordinateDescent
from fastbcd.solvers.state import State
from fastbcd.support.floating_point import own_errstate_in
from fastbcd.training.clock import laps, laps_of_all_threads


@own_errstate_in
class ThreeSplitting(BlockCoordinateDescent):
    """Three-splitting BCD: every block is minimised exactly, so F never increases.

    Parameters
    ----------
    problem : Problem
        Network, loss, penalties and couplings.
    alpha : float, default=1e-3
        Weight of the proximal terms ``alpha/2 |. - previous|^2``, >= 0.
    alpha_weights : float, optional
        The same for the W-blocks, where it should differ: with
        ``reduction="mean"`` a sample's term is divided by n, a weight's is not.
    loss_update : {"prox", "prox-linear"}, default="prox"
        V_L-block: the loss itself, or linearised at the old states. Prox-linear needs a
        loss with a Lipschitz gradient (constant L) and ``alpha > max(0, (L - gamma) / 2)``.
    device : {"cpu", "cuda"}, default="cpu"
        With ``"cuda"`` the whole state lives on the GPU: the extra ``cuda13``, see docs/cuda.md.
    dtype : {"float32", "float64"}, default="float32"
        Storage and products; sums over samples and solves are in float64.
    n_threads : int, optional
        Default: as many as BLAS would use. Results do not depend on it.
    tile_rows : int, optional
        Samples per tile; default: chosen from the cache size.
    comm : mpi4py.MPI.Comm, optional
        The processes that share the work, each with samples of its own; all of them call the same
        methods. Default: this process has all samples.
    memory : int or str, optional
        Bytes of resident memory that the process may have, or a text such as ``"2GiB"``: arrays
        of samples then are in files, of which a few tiles are in memory. Same results. Default:
        everything is in memory.
    folder : str or Path, optional
        Where these files are, on a disk. Default: the system's folder for temporary files.
    precision : {"float32", "tf32", "bf16"}, default="float32"
        Of float32 products on a GPU: TF32 rounds factors to 11 bits, bfloat16 to 8, so that the
        objective may rise by that rounding. Products are added up in float32 in any case.

    Notes
    -----
    Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2, and Algorithm 3 where the problem has
    residual layers: 2 is the case of all ``S_l = 0``. A solver holds hyperparameters
    only; `State` holds the arrays. `step` works in place.
    """

    has_preactivations = True

    def _update_layer(self, state: State, l: int) -> None:
        """V_l, U_l and the sums for W_l in one pass over tiles of samples; then W_l."""
        problem, device, L = self.problem, self.device, self.problem.n_layers
        W, V, U, descent_log = state.W, state.V, state.U, state.descent_log
        lap = laps_of_all_threads(state.clock)
        gamma, rho, alpha = problem.gamma, problem.rho, self.alpha
        unit = problem.per_sample(state.total_weight)
        activation = problem.activations[l - 1]
        layer = device.layer(W[l])
        if l < L:
            kappa = gamma * (1 + problem.residual[l])
            solve = device.state_solve(W[l + 1], problem.state_penalties[l - 1], kappa, rho)
            lap("V", l)
        equations = self._normal_equations(state, l)
        reports = None if descent_log is None else device.sum((2, 2))

        def update_samples(tile: Tile) -> None:
            rows, lap = tile.rows, laps(state.clock)
            below = self._skip(state, l, rows)
            report = (None, None) if reports is None else device.zeros((2, 2), np.float64)
            report_V, report_U = report
            weight = state.weight_of(rows)
            if l == L:
                # V_L = argmin s_L(V_L) + loss(V_L; Y) + gamma/2 |V_L - S_L V_{L-1} - U_L|^2
                #              + alpha/2 |V_L - V_L'|^2
                self._update_output_state(tile, state, U[L][rows], below, report_V)
            else:
                # V_l = argmin s_l(V_l) + gamma/2 |V_l - S_l V_{l-1} - act(U_l)|^2
                #              + gamma/2 S_{l+1} |V_{l+1} - V_l - act(U_{l+1})|^2
                #              + rho/2 |U_{l+1} - V^_l W_{l+1}^T|^2
                V_next = V[l + 1][rows] if problem.residual[l] else None
                C = solve.center(tile, V[l][rows], descent_log is not None)
                device.kernels.state_center(
                    *(C, activation, U[l][rows], below),
                    *(problem.activations[l], U[l + 1][rows], V_next, solve.scale),
                )
                solve.solve(tile, V[l][rows], C, U[l + 1][rows], report_V, *weight)
            lap("V", l)
            # U_l = argmin gamma/2 |V_l - S_l V_{l-1} - act(U_l)|^2
            #            + rho/2 |U_l - V^_{l-1} W_l^T|^2 + alpha/2 |U_l - U_l'|^2 (hidden layers)
            B = device.forward(tile, layer, V[l - 1][rows])
            device.kernels.update_preactivation(
                *(U[l][rows], activation, V[l][rows], below, B),
                *(gamma, rho, alpha if l < L else 0.0, report_U, *weight),
            )
            lap("U", l)
            equations.add(tile, B, V[l - 1][rows], *weight)
            lap("W", l)
            if reports is not None:
                reports.add(tile, report)

        arrays = [V[l - 1], V[l], U[l], state.Y if l == L else U[l + 1]]
        if l < L and problem.residual[l]:
            arrays.append(V[l + 1])
        device.for_each_tile(state.n, problem.widths, self.dtype, update_samples, arrays=arrays)
        # W_l = argmin r_l(W_l) + rho/2 |U_l - V^_{l-1} W_l^T|^2 + alpha/2 |W_l - W_l'|^2
        report_W = None if descent_log is None else device.zeros((2,), np.float64)
        penalty = problem.weight_penalties[l - 1]
        equations.solve(W[l], rho * unit, penalty, self.alpha_weights, report_W)
        if descent_log is not None and reports is not None:
            for kind, report in zip("VU", reports.total(), strict=True):
                descent_log.add(kind, l, report, unit)
            descent_log.add("W", l, report_W)
        lap("W", l)

    def _couplings(self, tile: Tile, state: State, l: int, layer: Any) -> tuple[float, float]:
        problem, rows = self.problem, tile.rows
        V, U, activation = state.V[l][rows], state.U[l][rows], problem.activations[l - 1]
        below = self._skip(state, l, rows)
        kernels, weight = self.device.kernels, state.weight_of(rows)
        miss = kernels.activation_residual(activation, V, U, below, *weight)
        B = self.device.forward(tile, layer, state.V[l - 1][rows])
        return miss, kernels.squared_distance(U, B, *weight)

    def coupling_residuals(
        self, tile: Tile, state: State, l: int, layer: Any
    ) -> tuple[Any, Any, float]:
        """A_l, R_l and |g_U|^2 of one tile; see `fastbcd.solvers.subgradient`."""
        problem, device, rows = self.problem, self.device, tile.rows
        V, U, activation = state.V[l][rows], state.U[l][rows], problem.activations[l - 1]
        A = device.empty(V.shape, V.dtype)
        device.kernels.coupling_residual(A, activation, V, U, self._skip(state, l, rows))
        R = U - device.forward(tile, layer, state.V[l - 1][rows])
        squared = device.kernels.preactivation_subgradient(
            *(activation, U, A, R, problem.gamma, problem.rho, *state.weight_of(rows))
        )
        return A, problem.rho * R, squared

    def promised_decrease(self) -> float:
        """A > 0 with which every iteration has ``F(P') - F(P) >= a |P - P'|^2`` (Theorem 1).

        V_L: ``alpha + gamma/2`` (prox-linear: ``alpha + (gamma - L)/2``); U_L: ``(gamma + rho)/2``;
        other V_l: ``gamma/2``; other U_l: ``alpha/2``; W_l: alpha of the weights.
        """
        gamma, rho = self.problem.gamma, self.problem.rho
        promises = [self._promise_of_output_state(), (gamma + rho) / 2, self.alpha_weights]
        if self.problem.n_layers > 1:
            promises += [gamma / 2, self.alpha / 2]
        return min(promises)
