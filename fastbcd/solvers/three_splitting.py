"""Algorithms 2 and 3: three-splitting block coordinate descent, plain and residual."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.layers import Operator, StateBlock
from fastbcd.layers.proximal_states import ProximalStateBlock
from fastbcd.layers.skip import curvature
from fastbcd.solvers.base import BlockCoordinateDescent
from fastbcd.solvers.blocks import BlockOfSamples, LayerBlocks
from fastbcd.solvers.on_tile import LayerOnTile
from fastbcd.solvers.state import State
from fastbcd.support.floating_point import own_errstate_in


class PullWork(Workspace):
    """Work array of a tile: ``V_{l+1} - act(U_{l+1})``, which pulls V_l where S reaches it."""

    pull: Buffer


@own_errstate_in
class ThreeSplitting(BlockCoordinateDescent):
    """Three-splitting BCD: each block update minimises F over its block, so F never increases.

    Parameters
    ----------
    problem : Problem
        Network, loss, penalties and couplings.
    alpha : float, default=1e-3
        Weight of the proximal terms ``alpha/2 |. - previous|^2``, >= 0.
    alpha_weights : float, optional
        Weight of the proximal terms of the W-blocks; default: alpha. With ``reduction="mean"`` the
        terms of samples are divided by n, those of weights are not.
    loss_update : {"prox", "prox-linear"}, default="prox"
        The V_L-block minimises the loss itself, or the loss linearised at the old V_L. Prox-linear
        needs a loss whose gradient has a Lipschitz constant L, and
        ``alpha > max(0, (L - gamma) / 2)``.
    execution : Execution, optional
        Where and how the work runs.
    acceleration : {None, "nesterov"}, default=None
        With "nesterov" each iteration starts from ``P^k + beta_k (P^k - P^{k-1})``, over all
        blocks. A guard keeps the sufficient decrease of F that a plain iteration has. None is the
        published procedure. See `fastbcd.solvers.acceleration`.
    **where
        The fields of `Execution` as keywords, instead of the record: device, dtype, n_threads,
        tile_rows, comm, memory, folder, precision.

    Notes
    -----
    This is Algorithm 3 of Zeng, Lau, Lin, Yao (ICML 2019), and Algorithm 2 if no layer of the
    problem is residual (all ``S_l = 0``). A solver holds hyperparameters only; `State` holds the
    arrays. `step` works in place. In formulas of blocks a prime marks the previous value: V_l'.
    """

    has_preactivations = True

    def _blocks(self, state: State, l: int, measured: bool) -> LayerBlocks:
        """Return the blocks V_l, U_l and W_l."""
        return ThreeSplittingBlocks(self, state, l, measured)

    def _couplings(self, layer: LayerOnTile, operator: Operator) -> tuple[Any, Any]:
        """Return ``|V_l - S_l V_{l-1} - act(U_l)|^2`` and ``|U_l - V^_{l-1} W_l^T|^2``."""
        kernels, U, weight = self.device.kernels, layer.U, layer.weight
        residual = kernels.activation_residual(layer.activation, layer.V, U, layer.skipped, *weight)
        return residual, kernels.squared_distance(U, layer.linear(operator), *weight)

    def coupling_residuals(
        self, tile: Tile, state: State, l: int, operator: Any
    ) -> tuple[Any, Any, Any]:
        """Return A_l, R_l and ``|g_U_l|^2`` of one tile; see `squared_subgradient`."""
        problem, device = self.problem, self.device
        layer = LayerOnTile(problem, state, tile, l)
        V, U = layer.V, layer.U
        A = device.empty(V.shape, V.dtype)
        device.kernels.coupling_residual(A, layer.activation, V, U, layer.skipped)
        R = U - layer.linear(operator)
        squared = device.kernels.preactivation_subgradient(
            layer.activation, U, A, R, problem.gamma, problem.rho, *layer.weight
        )
        return A, problem.rho * R, squared

    def promised_decrease(self) -> float:
        """Return the a of ``F(P^{k-1}) - F(P^k) >= a |P^k - P^{k-1}|^2`` (Theorem 1).

        It is the smallest of V_L: ``alpha + gamma/2`` (prox-linear: ``alpha + (gamma - L)/2``);
        U_L: ``(gamma + rho)/2``; other V_l: ``gamma/2``, or ``alpha/2`` below a layer that is not
        linear; other U_l: ``alpha/2``; W_l: alpha_weights.
        """
        gamma, rho = self.problem.gamma, self.problem.rho
        promises = [self._promise_of_output_state(), (gamma + rho) / 2, self.alpha_weights]
        if self.problem.n_layers > 1:
            promises += [gamma / 2, self.alpha / 2]
        return min(promises)


class ThreeSplittingBlocks(LayerBlocks):
    """Blocks V_l, U_l and W_l of Algorithms 2 and 3."""

    factors: Any
    """``scale (1 + S_{l+1}^T S_{l+1})^-1`` (d_l,), where S_{l+1} is neither 0 nor 1."""

    def of_samples(self) -> dict[str, BlockOfSamples]:
        """Return the updates of V_l and of U_l, in this order."""
        return {"V": self.update_V, "U": self.update_U}

    def prepare(self) -> None:
        """Factor the Hessian of the V_l-block of a hidden layer, which all samples share."""
        problem, l = self.problem, self.l
        if l == self.L:
            return
        device, above, W = self.device, problem.layers[l], self.state.W[l + 1]
        kappa, penalty = curvature(problem.skips[l], problem.gamma), problem.state_penalties[l - 1]
        block: StateBlock
        if above.is_linear:
            block = above.state_block(device, W, penalty, kappa, problem.rho, self.measured)
        else:
            alpha = self.solver.alpha
            block = ProximalStateBlock(device, above, W, penalty, kappa, problem.rho, alpha)
        self.V_block, skip = block, problem.skips[l]
        if skip is not None and not skip.is_identity:
            self.factors = device.array(block.scale / (1.0 + skip.squares()), self.state.dtype)

    def arrays(self) -> list[Any]:
        """Return the arrays of samples that a pass over layer l reads and writes."""
        V, U, l, L = self.state.V, self.state.U, self.l, self.L
        arrays = [V[l - 1], V[l], U[l], self.state.Y if l == L else U[l + 1]]
        return [*arrays, V[l + 1]] if l < L and self.problem.residual[l] else arrays

    def update_V(self, tile: Tile, decrease: Any) -> None:
        """Update V_l of a tile.

        .. code-block:: text

            V_L = argmin s_L(V_L) + loss(V_L; Y) + gamma/2 |V_L - S_L V_{L-1} - U_L|^2
                         + alpha/2 |V_L - V_L'|^2
            V_l = argmin s_l(V_l) + gamma/2 |V_l - S_l V_{l-1} - act(U_l)|^2
                         + gamma/2 |V_{l+1} - S_{l+1} V_l - act(U_{l+1})|^2  (if S_{l+1} != 0)
                         + rho/2 |U_{l+1} - V^_l W_{l+1}^T|^2
                         + alpha/2 |V_l - V_l'|^2            (if layer l + 1 is not linear)
        """
        own = self.on(tile)
        if self.l == self.L:
            self.update_output_states(own, own.U, own.skipped, decrease)
            return
        above, C = self.above(tile), self.V_block.center(tile, own.V)
        self._write_center(C, own, above)
        self.V_block.solve(tile, own.V, C, above.U, decrease, *own.weight)

    def _write_center(self, C: Any, own: LayerOnTile, above: LayerOnTile) -> None:
        """Write the center of the V_l-block, times the scale of the block.

        ``C = scale (1 + S^T S)^-1 (S_l V_{l-1} + act(U_l) + S^T (V_{l+1} - act(U_{l+1})))`` with
        ``S = S_{l+1}``, whose ``S^T S`` is diagonal.
        """
        kernels, skip = self.device.kernels, self.problem.skips[self.l]
        center = partial(kernels.state_center, C, own.activation, own.U, own.skipped)
        if skip is None or skip.is_identity:
            reached = None if skip is None else above.V
            center(above.activation, above.U, reached, float(self.V_block.scale))
            return
        center(above.activation, above.U, None, 1.0)
        pull = own.tile.work.of(PullWork).pull.array(above.U.shape, C.dtype)
        kernels.coupling_residual(pull, above.activation, above.V, above.U, None)
        reached = skip.kept(C)
        reached += skip.placed(pull)
        C *= self.factors

    def update_U(self, tile: Tile, decrease: Any) -> None:
        """Update U_l of a tile, and replace ``V^_{l-1} W_l^T`` in B by ``U_l - V^_{l-1} W_l^T``.

        .. code-block:: text

            U_l = argmin gamma/2 |V_l - S_l V_{l-1} - act(U_l)|^2 + rho/2 |U_l - V^_{l-1} W_l^T|^2
                         + alpha/2 |U_l - U_l'|^2  (hidden layers only)
        """
        problem, own = self.problem, self.on(tile)
        self.device.kernels.update_preactivation(
            own.U,
            own.activation,
            own.V,
            own.skipped,
            own.B,
            problem.gamma,
            problem.rho,
            self.solver.alpha if self.l < self.L else 0.0,
            decrease,
            *own.weight,
        )

    def add_to_W(self, tile: Tile) -> None:
        """Add a tile to the sums of the W_l-block; B holds the residuals of `update_U`."""
        own = self.on(tile)
        self.W_block.add(tile, own.B, own.V_below, *own.weight)

    def update_W(self, decrease: Any) -> None:
        """Update W_l.

        .. code-block:: text

            W_l = argmin r_l(W_l) + rho/2 |U_l - V^_{l-1} W_l^T|^2 + alpha/2 |W_l - W_l'|^2
        """
        problem, state, l = self.problem, self.state, self.l
        weight, penalty = problem.rho * self.unit, problem.weight_penalties[l - 1]
        self.W_block.solve(state.W[l], weight, penalty, self.solver.alpha_weights, decrease)
