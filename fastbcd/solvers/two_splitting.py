"""Algorithm 1: two-splitting block coordinate descent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastbcd.devices.tiles import Tile
from fastbcd.errors import InputError
from fastbcd.kernels import Formula, linear
from fastbcd.problem import Problem
from fastbcd.problem.requirements import check_formula
from fastbcd.solvers.base import BlockCoordinateDescent
from fastbcd.solvers.state import State
from fastbcd.support.floating_point import own_errstate_in
from fastbcd.support.parameters import SMALLEST, require_integer
from fastbcd.training.clock import laps, laps_of_all_threads

# Steps towards a model's minimiser that rows of W try; the first is none. The models'
# curvature bounds are the largest of all samples, so longer steps often pay.
STEPS = np.array([0.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.125, 2.0**-6, 2.0**-10])


@own_errstate_in
class TwoSplitting(BlockCoordinateDescent):
    """Two-splitting BCD, without pre-activations: every block update descends.

    The blocks W_l and V_l of hidden layers have no closed form where the activation is
    nonlinear: each is updated by `inner_steps` solves of a quadratic model, followed by a
    search by rows of W or by samples of V; see `fastbcd.kernels.surrogate`.

    Parameters
    ----------
    problem : Problem
        Network, loss, penalties and coupling; plain layers only, and no rho of its own.
    alpha : float, default=1e-3
        Weight of the proximal terms ``alpha/2 |. - previous|^2``, >= 0.
    alpha_weights : float, optional
        The same for the W-blocks, where it should differ.
    loss_update : {"prox", "prox-linear"}, default="prox"
        As in `ThreeSplitting`.
    inner_steps : int, default=1
        Models solved in each nonlinear block. More lower F a little further in each
        iteration, one is the fastest in time (benchmarks/NOTES.md).
    device, dtype, n_threads, tile_rows, comm, memory, folder, precision
        As in `ThreeSplitting`.

    Raises
    ------
    InputError
        Residual layers (the paper states the residual algorithm in its three-splitting
        form), a rho other than gamma, an activation without derivative and curvature.

    Notes
    -----
    Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 1, its nonlinear minimisations replaced by
    descent. A solver holds hyperparameters only; `State` holds the arrays.
    """

    has_preactivations = False

    def __init__(
        self,
        problem: Problem,
        alpha: float = 1e-3,
        alpha_weights: float | None = None,
        loss_update: str = "prox",
        inner_steps: int = 1,
        device: str = "cpu",
        dtype: str = "float32",
        n_threads: int | None = None,
        tile_rows: int | None = None,
        comm: Any = None,
        memory: int | str | None = None,
        folder: str | Path | None = None,
        precision: str = "float32",
    ) -> None:
        super().__init__(
            *(problem, alpha, alpha_weights, loss_update, device, dtype, n_threads, tile_rows),
            *(comm, memory, folder, precision),
        )
        self.inner_steps = require_integer(inner_steps, "inner_steps", at_least=1)
        if any(problem.residual):
            raise InputError(
                f"residual: layer {problem.residual.index(True) + 1} is residual, but Algorithm 1 "
                "is for plain layers; use ThreeSplitting (Algorithm 3) for residual networks"
            )
        if problem.rho != problem.gamma:
            raise InputError(
                "rho: the two-splitting objective has one coupling, weighed by gamma; leave rho out"
            )
        for activation in set(problem.activations):
            for function in ("derivative", "curvature"):
                check_formula(activation, function, "activation", "Algorithm 1")

    def _update_layer(self, state: State, l: int) -> None:
        """V_l and the sums for W_l in one pass over tiles of samples; then W_l."""
        problem, device, L = self.problem, self.device, self.problem.n_layers
        W, V, descent_log, lap = (
            state.W,
            state.V,
            state.descent_log,
            laps_of_all_threads(state.clock),
        )
        gamma, unit = problem.gamma, problem.per_sample(state.total_weight)
        activation = problem.activations[l - 1]
        layer = device.layer(W[l])
        if l < L:
            # The model of the next layer's coupling has the curvature gamma c.
            c_next = state.cache[f"curvature {l + 1}"]
            penalty = problem.state_penalties[l - 1]
            model = device.state_solve(W[l + 1], penalty, gamma + self.alpha, gamma * c_next)
            solve = device.nonlinear_state_solve(
                model, problem.activations[l], c_next, gamma, self.alpha
            )
            lap("V", l)
        equations = self._normal_equations(state, l)
        curvatures: list[Any] = [0.0]
        reports = None if descent_log is None else device.sum(2)

        def update_samples(tile: Tile) -> None:
            rows, lap, weight = tile.rows, laps(state.clock), state.weight_of(tile.rows)
            report = None if reports is None else device.zeros((2,), np.float64)
            B = device.forward(tile, layer, V[l - 1][rows])
            if l == L:
                # V_L = argmin s_L(V_L) + loss(V_L; Y) + gamma/2 |V_L - V^_{L-1} W_L^T|^2
                #              + alpha/2 |V_L - V_L'|^2
                self._update_output_state(tile, state, B, None, report)
            else:
                # V_l = argmin s_l(V_l) + gamma/2 |V_l - act(V^_{l-1} W_l^T)|^2
                #              + gamma/2 |V_{l+1} - act(V^_l W_{l+1}^T)|^2 + alpha/2 |V_l - V_l'|^2
                A = tile.scratch.array("A", B.shape, B.dtype)
                device.kernels.activate(A, activation, B, None)
                steps = self._steps(problem.activations[l])
                solve.update(tile, V[l][rows], A, V[l + 1][rows], steps, report, *weight)
            lap("V", l)
            curvatures.append(device.kernels.curvature_bound(activation, V[l][rows], B))
            device.kernels.surrogate_residual(B, activation, V[l][rows], B, 1.0)
            equations.add(tile, B, V[l - 1][rows], *weight)
            lap("W", l)
            if reports is not None and report is not None:
                reports.add(tile, report)

        arrays = [V[l - 1], V[l], state.Y if l == L else V[l + 1]]
        device.for_each_tile(state.n, problem.widths, self.dtype, update_samples, arrays=arrays)
        # Where no sample has a slope any curvature will do: nothing is to move.
        c = device.largest(curvatures, SMALLEST, 1.0)
        state.cache[f"curvature {l}"] = c
        # W_l = argmin r_l(W_l) + gamma/2 |V_l - act(V^_{l-1} W_l^T)|^2 + alpha/2 |W_l - W_l'|^2
        self._update_weights(state, l, equations, c)
        if descent_log is not None and reports is not None:
            descent_log.add("V", l, reports.total(), unit)
        lap("W", l)

    def _steps(self, activation: Formula) -> int:
        """A linear layer's coupling is its own model: one solve is exact."""
        return 1 if activation == linear() else self.inner_steps

    def _update_weights(self, state: State, l: int, equations: Any, c: Any) -> None:
        """W_l in place; `equations` hold the model's sums for the first inner step."""
        problem, device = self.problem, self.device
        penalty, activation = problem.weight_penalties[l - 1], problem.activations[l - 1]
        weight, alpha = problem.gamma * problem.per_sample(state.total_weight), self.alpha_weights
        W, V = state.W, state.V
        report = None if state.descent_log is None else device.zeros((2,), np.float64)
        before = None if state.descent_log is None else device.copy(W[l])
        for k in range(self._steps(activation)):
            if k > 0:
                equations.start(keep_gram=True)
                layer = device.layer(W[l])

                def add_residuals(tile: Tile, layer: Any = layer) -> None:
                    rows = tile.rows
                    Z = device.forward(tile, layer, V[l - 1][rows])
                    device.kernels.surrogate_residual(Z, activation, V[l][rows], Z, 1.0)
                    equations.add(tile, Z, V[l - 1][rows], *state.weight_of(rows))

                device.for_each_tile(
                    *(state.n, problem.widths, self.dtype, add_residuals), arrays=[V[l - 1], V[l]]
                )
            if activation == linear():
                equations.solve(W[l], weight, penalty, alpha, report)
                break
            # The residuals were taken at curvature 1: c times the model's.
            end = device.copy(W[l])
            equations.cross /= c
            equations.solve(end, weight * c, penalty, alpha)
            self._search_weights(state, l, end, report)
        if state.descent_log is not None and report is not None:
            # The block's own step, not the sum of its inner ones.
            report[1] = device.kernels.squared_distance(W[l], before)
            state.descent_log.add("W", l, report)

    def _search_weights(self, state: State, l: int, end: Any, report: Any) -> None:
        """Move each row of W_l towards the model's minimiser `end`: one pass over tiles."""
        problem, device = self.problem, self.device
        W, V, activation = state.W, state.V, problem.activations[l - 1]
        layer, change = device.layer(W[l]), device.layer(end - W[l])
        sums, steps = device.sum((len(STEPS), problem.widths[l])), device.array(STEPS, np.float64)

        def add_sums(tile: Tile) -> None:
            below = V[l - 1][tile.rows]
            Z = device.forward(tile, layer, below)
            P = device.forward(tile, change, below, name="P")
            shape = (len(STEPS), problem.widths[l])
            part = tile.scratch.array("row sums", shape, np.float64)
            part[:] = 0.0
            weight = state.weight_of(tile.rows)
            device.kernels.add_row_sums(part, activation, V[l][tile.rows], Z, P, steps, *weight)
            sums.add(tile, part)

        arrays = [V[l - 1], V[l]]
        device.for_each_tile(state.n, problem.widths, self.dtype, add_sums, arrays=arrays)
        weight = problem.gamma * problem.per_sample(state.total_weight)
        penalty = problem.weight_penalties[l - 1]
        alpha = self.alpha_weights
        device.kernels.search_rows(W[l], end, sums.total(), steps, penalty, weight, alpha, report)
        # Rounding may differ from machine to machine, and weights must not.
        device.same_on_all_ranks(W[l])

    def _couplings(self, tile: Tile, state: State, l: int, layer: Any) -> tuple[float, float]:
        problem, rows = self.problem, tile.rows
        B = self.device.forward(tile, layer, state.V[l - 1][rows])
        V, activation = state.V[l][rows], problem.activations[l - 1]
        weight = state.weight_of(rows)
        return self.device.kernels.activation_residual(activation, V, B, None, *weight), 0.0

    def coupling_residuals(
        self, tile: Tile, state: State, l: int, layer: Any
    ) -> tuple[Any, Any, float]:
        """A_l, R_l and |g_U|^2 of one tile; see `fastbcd.solvers.subgradient`."""
        problem, device, rows = self.problem, self.device, tile.rows
        V, activation = state.V[l][rows], problem.activations[l - 1]
        B = device.forward(tile, layer, state.V[l - 1][rows])
        A = device.empty(V.shape, V.dtype)
        device.kernels.coupling_residual(A, activation, V, B, None)
        device.kernels.surrogate_residual(B, activation, V, B, 1.0)
        return A, problem.gamma * B, 0.0

    def promised_decrease(self) -> float:
        """A > 0 with which every iteration has ``F(P') - F(P) >= a |P - P'|^2``.

        V_L: ``alpha + gamma/2`` (prox-linear: ``alpha + (gamma - L)/2``); other V_l: ``alpha/2``;
        W_L: alpha of the weights; other W_l: half of it, divided by the inner steps, each with
        its own proximal term.
        """
        promises = [self._promise_of_output_state(), self.alpha_weights]
        if self.problem.n_layers > 1:
            promises += [self.alpha / 2, self.alpha_weights / 2 / self.inner_steps]
        return min(promises)
