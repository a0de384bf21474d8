"""Algorithm 1: two-splitting block coordinate descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.execution import Execution
from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.errors import InputError
from fastbcd.kernels import Formula, linear
from fastbcd.layers import Operator
from fastbcd.layers.nonlinear_states import NonlinearStateBlock
from fastbcd.layers.proximal_states import ProximalStateBlock
from fastbcd.problem import Problem
from fastbcd.problem.requirements import check_formula
from fastbcd.solvers.base import BlockCoordinateDescent
from fastbcd.solvers.blocks import BlockOfSamples, LayerBlocks
from fastbcd.solvers.on_tile import LayerOnTile
from fastbcd.solvers.state import State
from fastbcd.support.floating_point import own_errstate_in
from fastbcd.support.parameters import SMALLEST, require_integer

# Lengths of the step to the surrogate's minimiser that the search by rows of W tries; 0 is no step.
# The surrogate's curvature is the largest of all samples, so steps longer than 1 often pay.
STEPS = np.array([0.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.125, 2.0**-6, 2.0**-10])


@own_errstate_in
class TwoSplitting(BlockCoordinateDescent):
    """Two-splitting BCD, without pre-activations: no block update increases F.

    If the activation is nonlinear, the blocks W_l and the blocks V_l of hidden layers have no
    closed form. Each is updated by `inner_steps` quadratic surrogates. A search along the step to
    the surrogate's minimiser follows, by rows of W or by samples of V; see
    `fastbcd.kernels.surrogate`.

    Parameters
    ----------
    problem : Problem
        Network, loss, penalties and coupling; no residual layers, and rho = gamma.
    alpha : float, default=1e-3
        Weight of the proximal terms ``alpha/2 |. - previous|^2``, >= 0.
    alpha_weights : float, optional
        Weight of the proximal terms of the W-blocks; default: alpha.
    loss_update : {"prox", "prox-linear"}, default="prox"
        As in `ThreeSplitting`.
    inner_steps : int, default=1
        Surrogates solved in each nonlinear block. More of them lower F a little further in each
        iteration; one is the fastest in time (benchmarks/NOTES.md).
    execution : Execution, optional
        Where and how the work runs, as in `ThreeSplitting`.
    acceleration : {None, "nesterov"}, default=None
        As in `ThreeSplitting`.
    **where
        The fields of `Execution` as keywords, as in `ThreeSplitting`.

    Raises
    ------
    InputError
        The problem has residual layers (the paper states the residual algorithm in three-splitting
        form only), a rho other than gamma, an activation without derivative or curvature, or a
        layer that is not linear and has an activation.

    Notes
    -----
    This is Algorithm 1 of Zeng, Lau, Lin, Yao (ICML 2019); its nonlinear minimisations are
    replaced by descent. A solver holds hyperparameters only; `State` holds the arrays.
    """

    has_preactivations = False

    def __init__(
        self,
        problem: Problem,
        alpha: float = 1e-3,
        alpha_weights: float | None = None,
        loss_update: str = "prox",
        inner_steps: int = 1,
        execution: Execution | None = None,
        acceleration: str | None = None,
        **where: Any,
    ) -> None:
        super().__init__(
            problem, alpha, alpha_weights, loss_update, execution, acceleration, **where
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
        for l, layer in enumerate(problem.layers, start=1):
            if layer.has_activation and not layer.is_linear:
                raise InputError(
                    f"layers: number {l}, {type(layer).__name__}, is not linear and has an "
                    "activation, which Algorithm 1 cannot do; use ThreeSplitting"
                )
        for activation in set(problem.activations):
            for function in ("derivative", "curvature"):
                check_formula(activation, function, "activation", "Algorithm 1")

    def _blocks(self, state: State, l: int, measured: bool) -> LayerBlocks:
        """Return the blocks V_l and W_l."""
        return TwoSplittingBlocks(self, state, l, measured)

    def steps(self, activation: Formula) -> int:
        """Return the number of surrogates of a block: 1 for a linear `activation` (it is exact)."""
        return 1 if activation == linear() else self.inner_steps

    def _couplings(self, layer: LayerOnTile, operator: Operator) -> tuple[Any, Any]:
        """Return ``|V_l - act(V^_{l-1} W_l^T)|^2`` and 0."""
        B, residual = layer.linear(operator), self.device.kernels.activation_residual
        return residual(layer.activation, layer.V, B, None, *layer.weight), 0.0

    def coupling_residuals(
        self, tile: Tile, state: State, l: int, operator: Any
    ) -> tuple[Any, Any, Any]:
        """Return A_l, R_l and 0 for one tile; see `squared_subgradient`."""
        problem, device = self.problem, self.device
        layer = LayerOnTile(problem, state, tile, l)
        V, B = layer.V, layer.linear(operator)
        A = device.empty(V.shape, V.dtype)
        device.kernels.coupling_residual(A, layer.activation, V, B, None)
        device.kernels.surrogate_residual(B, layer.activation, V, B, 1.0)
        return A, problem.gamma * B, 0.0

    def promised_decrease(self) -> float:
        """Return the a of ``F(P^{k-1}) - F(P^k) >= a |P^k - P^{k-1}|^2``.

        It is the smallest of V_L: ``alpha + gamma/2`` (prox-linear: ``alpha + (gamma - L)/2``);
        other V_l: ``alpha/2``; W_L: alpha_weights; other W_l: ``alpha_weights / 2 / inner_steps``,
        because each inner step has its own proximal term.
        """
        promises = [self._promise_of_output_state(), self.alpha_weights]
        if self.problem.n_layers > 1:
            promises += [self.alpha / 2, self.alpha_weights / 2 / self.inner_steps]
        return min(promises)


class RowSearchWork(Workspace):
    """Work arrays of a tile for the search by rows of W.

    Z holds ``V^_{l-1} W_l^T`` and P its change by a step of length 1.
    """

    Z: Buffer
    P: Buffer
    sums: Buffer


class ActivationWork(Workspace):
    """Work array of a tile: A holds ``act(V^_{l-1} W_l^T)``."""

    A: Buffer


class TwoSplittingBlocks(LayerBlocks):
    """Blocks V_l and W_l of Algorithm 1."""

    solver: TwoSplitting

    def of_samples(self) -> dict[str, BlockOfSamples]:
        """Return the update of V_l."""
        return {"V": self.update_V}

    def prepare(self) -> None:
        """Prepare what all samples of the V_l-block of a hidden layer share: its surrogate.

        Below a layer without activation the block is exact and needs no surrogate.
        """
        problem, solver, l = self.problem, self.solver, self.l
        self.curvatures: list[Any] = [0.0]
        if l == self.L:
            return
        device, above, W = self.device, problem.layers[l], self.state.W[l + 1]
        gamma, alpha, penalty = problem.gamma, solver.alpha, problem.state_penalties[l - 1]
        if not above.has_activation:
            self.V_block = ProximalStateBlock(device, above, W, penalty, gamma, gamma, alpha)
            return
        # The surrogate of the next layer's coupling has the curvature gamma c.
        c_next = self.state.cache.curvatures[l + 1]
        surrogate = above.state_block(device, W, penalty, gamma + alpha, gamma * c_next)
        self.V_block = NonlinearStateBlock(
            device, surrogate, problem.activations[l], c_next, gamma, alpha
        )

    def arrays(self) -> list[Any]:
        """Return the arrays of samples that a pass over layer l reads and writes."""
        V, l = self.state.V, self.l
        return [V[l - 1], V[l], self.state.Y if l == self.L else V[l + 1]]

    def update_V(self, tile: Tile, decrease: Any) -> None:
        """Update V_l of a tile.

        .. code-block:: text

            V_L = argmin s_L(V_L) + loss(V_L; Y) + gamma/2 |V_L - V^_{L-1} W_L^T|^2
                         + alpha/2 |V_L - V_L'|^2
            V_l = argmin s_l(V_l) + gamma/2 |V_l - act(V^_{l-1} W_l^T)|^2
                         + gamma/2 |V_{l+1} - act(V^_l W_{l+1}^T)|^2 + alpha/2 |V_l - V_l'|^2
        """
        own = self.on(tile)
        B = own.B
        if self.l == self.L:
            self.update_output_states(own, B, None, decrease)
            return
        above = self.above(tile)
        A = tile.work.of(ActivationWork).A.array(B.shape, B.dtype)
        self.device.kernels.activate(A, own.activation, B, None)
        if isinstance(self.V_block, ProximalStateBlock):
            C = self.V_block.center(tile, own.V)
            self.device.scaled(C, A, self.V_block.scale)
            self.V_block.solve(tile, own.V, C, above.V, decrease, *own.weight)
            return
        steps = self.solver.steps(above.activation)
        self.V_block.update(tile, own.V, A, above.V, steps, decrease, *own.weight)

    def add_to_W(self, tile: Tile) -> None:
        """Add a tile to the surrogate's sums for W_l; B holds ``V^_{l-1} W_l^T``."""
        own, curvature_bound = self.on(tile), self.device.kernels.curvature_bound
        self.curvatures.append(curvature_bound(own.activation, own.V, own.B))
        self._add_residuals(own)

    def _add_residuals(self, own: LayerOnTile) -> None:
        """Replace ``V^_{l-1} W_l^T`` in B by the surrogate's residuals at curvature 1; add them."""
        B = own.B
        self.device.kernels.surrogate_residual(B, own.activation, own.V, B, 1.0)
        self.W_block.add(own.tile, B, own.V_below, *own.weight)

    def update_W(self, decrease: Any) -> None:
        """Update W_l.

        .. code-block:: text

            W_l = argmin r_l(W_l) + gamma/2 |V_l - act(V^_{l-1} W_l^T)|^2 + alpha/2 |W_l - W_l'|^2
        """
        problem, solver, device, l = self.problem, self.solver, self.device, self.l
        penalty, activation = problem.weight_penalties[l - 1], problem.activations[l - 1]
        W, weight, alpha = self.state.W[l], problem.gamma * self.unit, solver.alpha_weights
        # If no sample has a slope, W_l does not move, and any curvature will do.
        c = device.largest(self.curvatures, SMALLEST, 1.0)
        self.state.cache.curvatures[l] = c
        before = None if decrease is None else device.copy(W)
        if activation == linear():
            self.W_block.solve(W, weight, penalty, alpha, decrease)
        else:
            for k in range(solver.steps(activation)):
                if k > 0:
                    self._sum_anew()
                # Residuals at curvature 1 are c times those of the surrogate.
                end = device.copy(W)
                self.W_block.divide_residuals(c)
                self.W_block.solve(end, weight * c, penalty, alpha, None)
                self._search_rows(W, end, decrease)
        if decrease is not None:
            # The squared step is that of the whole block, not the sum over its inner steps.
            decrease[1] = device.kernels.squared_distance(W, before)

    def _sum_anew(self) -> None:
        """Add up the surrogate's sums again at the current W_l, by one pass over tiles."""
        state, l = self.state, self.l
        self.W_block.start(keep_gram=True)
        operator = self.problem.layers[l - 1].on(self.device, state.W[l])

        def add(tile: Tile) -> None:
            own = self.on(tile)
            own.linear(operator)
            self._add_residuals(own)

        arrays = [state.V[l - 1], state.V[l]]
        self.device.for_each_tile(state.n, self.problem.widths, state.dtype, add, arrays=arrays)

    def _search_rows(self, W: Any, end: Any, decrease: Any) -> None:
        """Move each row of W_l towards the surrogate's minimiser `end`, by one pass over tiles."""
        problem, device, state, l = self.problem, self.device, self.state, self.l
        layer = problem.layers[l - 1]
        operator, change = layer.on(device, W), layer.on(device, end - W)
        shape = (len(STEPS), problem.widths[l])
        sums, steps = device.sum(shape), device.array(STEPS, np.float64)

        def add_sums(tile: Tile) -> None:
            work, own = tile.work.of(RowSearchWork), self.on(tile)
            V = own.V
            Z, P = (buffer.array(V.shape, V.dtype) for buffer in (work.Z, work.P))
            operator.apply(Z, own.V_below)
            change.apply(P, own.V_below)
            part = work.sums.array(shape, np.float64)
            part[:] = 0.0
            device.kernels.add_row_sums(part, own.activation, V, Z, P, steps, *own.weight)
            sums.add(tile, part)

        arrays = [state.V[l - 1], state.V[l]]
        device.for_each_tile(state.n, problem.widths, state.dtype, add_sums, arrays=arrays)
        device.kernels.search_rows(
            W,
            end,
            layer.by_rows(sums.total()),
            steps,
            problem.weight_penalties[l - 1],
            problem.gamma * self.unit,
            self.solver.alpha_weights,
            decrease,
        )
        # Rounding may differ between the machines of the ranks; weights must not.
        device.same_on_all_ranks(W)
