"""The blocks of one mini-batch: forward pass, displacements of V and U, metrics, W."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices import CPU
from fastbcd.devices.batch import Batch
from fastbcd.devices.tiles import Scratch, Tile
from fastbcd.kernels import squared_norm
from fastbcd.mini_batch_state import MiniBatchState
from fastbcd.problem import Problem

# The metric counts every so many batches, and is renewed every so many: it moves slowly.
COUNT_EVERY, REFRESH_EVERY = 2, 10
# Rows of W that one thread updates at a time.
BLOCK_ROWS = 256


class BatchSweep:
    """What `MiniBatchThreeSplitting` does to a batch; its docstring has the formulas."""

    problem: Problem
    device: CPU
    dtype: np.dtype
    step_size: float
    schedule: Callable[[float], float]
    momentum: float
    rho: float
    weight_decay: float
    average: float

    def _forward(self, state: MiniBatchState, batch: Batch) -> NDArray[np.float64]:
        """Consistent states; ``|U_l|^2`` for l = 1..L."""
        problem, device, V, U = self.problem, self.device, batch.V, batch.U
        squares = np.zeros(problem.n_layers + 1)
        counts = self._counts(state)

        def forward(tile: Tile) -> None:
            rows, part = tile.rows, np.zeros(len(squares))
            for l, W in enumerate(state.W[1:], start=1):
                if counts:
                    state.metrics[l].project(batch.projected[l][rows], V[l - 1][rows])
                # U_l = V^_{l-1} W_l^T,  V_l = S_l V_{l-1} + act_l(U_l)
                device.kernels.product_transposed(U[l][rows], V[l - 1][rows], W, 1.0, 0.0)
                below = V[l - 1][rows] if problem.residual[l - 1] else None
                device.kernels.activate_augmented(
                    V[l][rows], problem.activations[l - 1], U[l][rows], below
                )
                part[l] = device.kernels.squared_norm(U[l][rows])
            tile.wait_for_turn()
            squares[:] += part

        device.for_each_tile(len(batch), problem.widths, self.dtype, forward)
        return squares

    def _displace(self, state: MiniBatchState, batch: Batch, l: int, scale: float) -> float:
        """Blocks V_l and U_l: D_l from D_{l+1}, which counts `scale` times; rms(D_l)."""
        problem, device, L = self.problem, self.device, self.problem.n_layers
        V, U, D, T = batch.V, batch.U, batch.D, batch.T
        total = np.zeros(1)

        def displace(tile: Tile) -> None:
            rows, scratch = tile.rows, tile.scratch
            target = scratch.array("target", D[l][rows].shape, self.dtype)
            below = V[l - 1][rows] if problem.residual[l - 1] else None
            if l == L:
                # V_L = argmin loss(V_L; Y) + gamma/2 |V_L - S_L V_{L-1} - U_L|^2
                target[:] = V[L][rows, :-1]
                device.update_output_state(
                    *(tile, target, problem.loss, problem.state_penalties[-1], False, U[L][rows]),
                    *(below, batch.Y[rows], problem.gamma, 0.0, None),
                )
            else:
                # V_l: gamma (1 + S_{l+1}) (V_l - V_l') = gamma S_{l+1} T_{l+1} + rho D_{l+1} W
                share = 1.0 / (1.0 + problem.residual[l])
                pull = T[l + 1][rows] if problem.residual[l] else None
                device.kernels.displaced(target, V[l][rows], pull, scale * share)
                weight = scale * share * self.rho / problem.gamma
                W = state.W[l + 1][:, :-1]
                device.kernels.product(target, D[l + 1][rows], W, weight, 1.0)
            # U_l = argmin gamma/2 |V_l - S_l V_{l-1} - act(U_l)|^2 + rho/2 |U_l - V^_{l-1} W_l^T|^2
            D[l][rows] = U[l][rows]
            device.kernels.update_preactivation(
                *(U[l][rows], problem.activations[l - 1], target, below, D[l][rows]),
                *(problem.gamma, self.rho, 0.0, None),
            )
            if T[l] is not None:
                device.kernels.activation_miss(
                    T[l][rows], problem.activations[l - 1], target, U[l][rows], below
                )
            part = device.kernels.squared_norm(D[l][rows])
            tile.wait_for_turn()
            total[0] += part

        device.for_each_tile(len(batch), problem.widths, self.dtype, displace)
        return math.sqrt(total[0] / D[l].size)

    def _response(self, l: int) -> float:
        """By how much a unit of ``D_{l+1} W_{l+1}`` (l = L: of the loss's slope) displaces U_l."""
        problem = self.problem
        share = problem.gamma / (problem.gamma + self.rho)
        if l == problem.n_layers:
            return share / (1.0 + problem.gamma)
        return share * self.rho / problem.gamma / (1.0 + problem.residual[l])

    def _counts(self, state: MiniBatchState) -> bool:
        return state.batches % COUNT_EVERY == 0 or self._renews(state)

    def _renews(self, state: MiniBatchState) -> bool:
        t = state.batches
        return t % REFRESH_EVERY == 0 or t & (t - 1) == 0  # 1, 2, 4, 8, too: early ones are rough

    def _update_metrics(self, state: MiniBatchState, batch: Batch) -> None:
        """G_l of every layer, where this batch counts."""
        if not self._counts(state):
            return

        def add(l: int, scratch: Scratch) -> None:
            metric = state.metrics[l]
            metric.add(batch.V[l - 1], batch.projected[l])
            if self._renews(state):
                metric.refresh()

        self.device.for_each_item(range(1, self.problem.n_layers + 1), add)

    def _update_weights(
        self, state: MiniBatchState, batch: Batch, sizes: NDArray[Any], reach: NDArray[Any]
    ) -> None:
        """Blocks W_l, by rows."""
        problem, device = self.problem, self.device
        size = self.step_size * self.schedule(state.batches / max(state.length, 1))
        blocks = [
            (l, slice(start, min(start + BLOCK_ROWS, len(W))))
            for l, W in enumerate(state.W[1:], start=1)
            for start in range(0, len(W), BLOCK_ROWS)
        ]
        # A plain mean of the first weights, until there are enough of them.
        share = max(1.0 - self.average, 1.0 / (1.0 + state.batches / 10.0))

        def update(item: tuple[int, slice], scratch: Scratch) -> None:
            l, rows = item
            W, S, metric = state.W[l][rows], state.S[l][rows], state.metrics[l]
            penalty = problem.weight_penalties[l - 1]
            # Where nothing is displaced (every margin of a hinge is wide enough), S fades away.
            weight = (1.0 - self.momentum) / (len(batch) * sizes[l]) if sizes[l] > 0.0 else 0.0
            D, V = batch.D[l][:, rows], batch.V[l - 1]
            device.kernels.transposed_product(S, D, V, weight, self.momentum)
            length = size / metric.level
            if l == problem.n_layers:
                length *= state.output_unit
            device.kernels.step_weights(W, S, length, 1.0 - size * self.weight_decay)
            work = scratch.array("leading", (len(W), metric.rank), self.dtype)
            metric.subtract_leading(W, S, length, work)
            if penalty.ridge != 0.0 and sizes[l] > 0.0:
                device.kernels.shrink_weights(W, penalty, length * reach[l] / sizes[l])
            if self.average:
                device.kernels.mean_of_weights(state.mean_W[l][rows], W, share)

        device.for_each_item(blocks, update)


def rms_gain(W: NDArray[Any]) -> float:
    """``|W|_F / sqrt(d_in)``: rms(D W) over rms(D) for a random D."""
    return math.sqrt(squared_norm(W[:, :-1]) / (W.shape[1] - 1))
