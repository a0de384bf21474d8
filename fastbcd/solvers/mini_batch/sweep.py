"""The blocks of one mini-batch: forward pass, updates of V and U, metrics, W."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile, even_size
from fastbcd.devices.workspace import Buffer, Workspace, Workspaces
from fastbcd.solvers.mini_batch.batch import Batch
from fastbcd.solvers.mini_batch.batches import Samples, n_batches
from fastbcd.solvers.mini_batch.rms_scaling import RMSScaling, Sizes
from fastbcd.solvers.mini_batch.shared import SharedProducts
from fastbcd.solvers.mini_batch.state import MiniBatchState
from fastbcd.solvers.output_block import update_output_states
from fastbcd.training.clock import laps

# The metric counts every 5th batch and is renewed at every 10th, because it changes slowly.
COUNT_EVERY, REFRESH_EVERY = 5, 10
# Weights enter their mean every 4th batch if a pass has many, because neighbours hardly differ.
MEAN_EVERY = 4
SMALLER = "use a smaller step_size, scale the inputs, or float64"


@dataclass(frozen=True)
class StepScalars:
    """The numbers that differ from batch to batch: floats, or elements on a GPU.

    ``size`` is the length of the step and ``keep = 1 - size weight_decay`` its factor of W;
    ``mean_share`` is the share of W in its mean; ``level`` is the unit of the samples' weights;
    ``weight = level (1 - momentum) / m`` is the factor of ``D_l^T V^_{l-1} / rms(D_l)`` in M_l.
    """

    size: Any
    keep: Any
    mean_share: Any
    level: Any
    weight: Any


class MomentumWork(Workspace):
    """Work array of a thread: ``M_l Q_l`` for some rows of the momentum."""

    projected: Buffer


class BatchSweep:
    """The blocks of one batch; the docstring of `MiniBatchThreeSplitting` has the formulas.

    Parameters
    ----------
    solver : MiniBatchThreeSplitting
        Hyperparameters and device.
    """

    def __init__(self, solver: Any) -> None:
        self._solver, self._problem, self._dtype = solver, solver.problem, solver.dtype
        self._device: Device = solver.device

    def learn(
        self, state: MiniBatchState, batch: Batch, samples: Samples, numbers: StepScalars
    ) -> None:
        """Sweep one batch; a device may repeat the launches recorded for a similar batch."""

        def sweep(samples: Samples, numbers: StepScalars) -> None:
            scaling = self._sweep(state, batch, samples, numbers)
            self._update_metrics_and_weights(state, batch, samples, numbers, scaling)

        measured, kind = state.batch_loss is not None, None
        if state.clock is None:
            # All that the sweep depends on, besides `parts`, `numbers` and `arrays`.
            kind = (
                len(batch),
                batch_total(samples),
                samples.weight is None,
                measured,
                state.settings,
                state.output_unit,
                self._problem,
                self._solver.displacement,
                self._solver.rho,
            )
        does = {
            "counts": self._counts(state),
            "renews": self._renews(state),
            "averages": self._averages(state),
        }
        parts = frozenset(part for part, is_done in does.items() if is_done)
        arrays = (batch.V, batch.loss, state.W, state.mean_W, state.S, state.metrics)
        sizes_before = (state.gains, state.rms_U, state.rms_D)
        self._device.batches.run(
            state.cache, batch, samples, numbers, kind, parts, (arrays, sizes_before), sweep
        )
        if measured:
            self._device.batches.count(state.batch_loss, batch.loss[0], batch_total(samples))

    def step_scalars(self, state: MiniBatchState, samples: Samples, ahead: int = 0) -> StepScalars:
        """Return the scalars of the batch that comes `ahead` batches after the next one."""
        t, m = state.batches + ahead, batch_total(samples)
        size = state.settings.step_size * self._solver.schedule(t / max(state.length, 1))
        # The first weights get the share of a plain mean, until there are enough for the decay.
        share = max(1.0 - self._solver.average, 1.0 / (1.0 + t / 10.0))
        return StepScalars(
            size=size,
            keep=1.0 - size * self._solver.weight_decay,
            mean_share=1.0 - (1.0 - share) ** self._mean_every(state),
            level=samples.level,
            weight=samples.level * (1.0 - state.settings.momentum) / m,
        )

    def _mean_every(self, state: MiniBatchState) -> int:
        return min(MEAN_EVERY, max(1, n_batches(state.n_total, state.settings.batch_size) // 8))

    def _averages(self, state: MiniBatchState) -> bool:
        return self._solver.average > 0.0 and state.batches % self._mean_every(state) == 0

    # -- states -------------------------------------------------------------------------------

    def _sweep(
        self, state: MiniBatchState, batch: Batch, samples: Samples, numbers: StepScalars
    ) -> Any:
        """Compute consistent states and their updates D_l by the V- and U-blocks.

        The V_l-block takes ``scale_l D_{l+1}``, such that rms(D_l) is about ``displacement
        rms(U_l)`` for l = 1..L-1. Returns the `RMSScaling` with these factors.
        """
        L, m = self._problem.n_layers, batch_total(samples)
        if state.gains is None:
            self._guess(state)
        sizes = Sizes(
            counts=m * np.array([1.0, *self._problem.widths[1:]]),
            responses=np.array([0.0, *(self._response(l) for l in range(1, L + 1))]),
            displacement=self._solver.displacement,
            rounding=8.0 * float(np.finfo(self._dtype).eps),
        )
        scaling = RMSScaling(self._device, state, sizes, numbers.weight)
        for _ in range(scaling.passes):
            squares, losses = self._pass(state, batch, samples, scaling.scale())
            try:
                settled = scaling.settle(squares)
            except FloatingPointError as problem:
                raise FloatingPointError(
                    f"batch {state.batches + 1}: {problem} in {self._dtype}; {SMALLER}"
                ) from None
            if settled:
                break
        if state.batch_loss is not None:
            batch.loss[:] = numbers.level * losses
        return scaling

    def _guess(self, state: MiniBatchState) -> None:
        """Set rms and gain ratios before the first batch, as for random weights and updates."""
        problem, device, L = self._problem, self._device, self._problem.n_layers
        gains, rms_D = np.ones(L + 1), np.ones(L + 1)
        for l in range(1, L):
            gain = problem.layers[l].gain(device.kernels, state.W[l + 1])
            gains[l] = self._response(l) * (gain + problem.residual[l])
        rms_D[L] = self._response(L) * state.output_unit
        state.gains, state.rms_D = device.array(gains, np.float64), device.array(rms_D, np.float64)
        state.rms_U = device.array(np.ones(L + 1), np.float64)

    def _pass(
        self, state: MiniBatchState, batch: Batch, samples: Samples, scale: Any
    ) -> tuple[Any, Any]:
        """Compute states and updates of `batch`.

        Returns ``|U_l|^2`` and ``|D_l|^2`` (2, L + 1), and the loss (1,), which is divided by the
        level of the samples' weights and is 0 unless it is measured.
        """
        problem, device, L = self._problem, self._device, self._problem.n_layers
        squares, loss = device.sum((2, L + 1)), device.sum(1)

        def sweep(tile: Tile) -> None:
            rows, lap = tile.rows, laps(state.clock)
            part = device.zeros((2, L + 1), np.float64)
            weight = None if samples.weight is None else samples.weight[rows]
            samples.read(device, rows, batch.V[0][rows], batch.Y[rows])
            lap("V", 0)
            for l in range(1, L + 1):
                part[0, l] = self._forward(state, batch, l, rows)
                lap("U", l)
            part_loss = 0.0
            if state.batch_loss is not None:
                V, Y = batch.V[L][rows, :-1], batch.Y[rows]
                part_loss = loss_of_batch(device, problem, V, Y, weight)
            self._update_output_states(batch, tile, weight)
            lap("V", L)
            for l in range(L, 0, -1):
                if l < L:
                    self._update_V(state, batch, l, scale[l], rows)
                    lap("V", l)
                part[1, l] = self._update_U(batch, l, rows)
                lap("U", l)
            squares.add(tile, part)
            loss.add(tile, (part_loss,))

        device.for_each_tile(len(batch), problem.widths, self._dtype, sweep, even=True)
        return squares.total(), loss.total()

    def _forward(self, state: MiniBatchState, batch: Batch, l: int, rows: slice) -> float:
        """``U_l = V^_{l-1} W_l^T`` and ``V_l = S_l V_{l-1} + act(U_l)``; returns ``|U_l|^2``."""
        problem, kernels, below = self._problem, self._device.kernels, batch.V[l - 1][rows]
        if self._counts(state) and problem.layers[l - 1].has_weights:
            state.metrics[l].project(kernels, batch.projected[l][rows], below)
        U = batch.U[l][rows]
        problem.layers[l - 1].batch_apply(kernels, U, below, state.W[l])
        skipped = self._skipped(batch, l, rows)
        return kernels.activate_augmented(batch.V[l][rows], problem.activations[l - 1], U, skipped)

    def _update_output_states(
        self, batch: Batch, tile: Tile, sample_weight: NDArray[np.float64] | None
    ) -> None:
        """Write the update of V_L into D_L, which each sample's weight multiplies.

        ``V_L = argmin loss(V_L; Y) + gamma/2 |V_L - S_L V_{L-1} - U_L|^2``
        """
        device, problem, rows, L = self._device, self._problem, tile.rows, self._problem.n_layers
        V, U, D = batch.V[L][rows, :-1], batch.U[L][rows], batch.D[L][rows]
        below = self._skipped(batch, L, rows)
        D[:] = V
        update_output_states(device, tile, problem, D, U, below, batch.Y[rows], alpha=0.0)
        D -= V
        if sample_weight is not None:
            device.kernels.scale_rows(D, sample_weight)

    def _update_V(
        self, state: MiniBatchState, batch: Batch, l: int, scale: Any, rows: slice
    ) -> None:
        """Write the update ``V_l - V_l'`` of a hidden layer into D_l.

        ``c (V_l - V_l') = scale (gamma S_{l+1}^T T_{l+1} + rho D_{l+1} W_{l+1})`` with
        ``c = 2 gamma`` if layer l + 1 is residual, else gamma. The Hessian of a column that
        S_{l+1} cuts off is gamma; a proximal term makes it 2 gamma, too, so that small updates
        follow the gradient.
        """
        problem, device, D = self._problem, self._device, batch.D[l][rows]
        skip, above, W = problem.skips[l], problem.layers[l], state.W[l + 1]
        share = scale / (1.0 if skip is None else 2.0)
        if skip is not None:
            device.scaled(D[:, : skip.shared], batch.T[l + 1][rows][:, : skip.shared], share)
            D[:, skip.shared :] = 0.0
        weight, keep = share * self._solver.rho / problem.gamma, float(skip is not None)
        above.batch_adjoint(device.kernels, D, batch.D[l + 1][rows], W, weight, keep)

    def _update_U(self, batch: Batch, l: int, rows: slice) -> float:
        """Replace the update of V_l in D_l by that of U_l; returns ``|D_l|^2``.

        ``U_l = argmin gamma/2 |V_l - S_l V_{l-1} - act(U_l)|^2 + rho/2 |U_l - V^_{l-1} W_l^T|^2``
        """
        problem, T = self._problem, batch.T[l]
        return self._device.kernels.displacement(
            batch.D[l][rows],
            None if T is None else T[rows],
            batch.U[l][rows],
            problem.activations[l - 1],
            problem.gamma,
            self._solver.rho,
        )

    def _skipped(self, batch: Batch, l: int, rows: slice) -> Any:
        """Return an array with ``S_l V_{l-1}`` in its first columns; None unless l is residual."""
        skip, V = self._problem.skips[l - 1], batch.V[l - 1][rows]
        if skip is None or batch.skipped[l] is None:
            return None if skip is None else V
        skip.write(batch.skipped[l][rows], V)
        return batch.skipped[l][rows]

    def _response(self, l: int) -> float:
        """Return the update of U_l by a unit of ``D_{l+1} W_{l+1}`` (l = L: of the loss slope)."""
        problem = self._problem
        share = problem.gamma / (problem.gamma + self._solver.rho)
        if l == problem.n_layers:
            return share / (1.0 + problem.gamma)
        return share * self._solver.rho / problem.gamma / (1.0 + problem.residual[l])

    # -- metrics and weights ------------------------------------------------------------------

    def _counts(self, state: MiniBatchState) -> bool:
        """Return whether the metrics count this batch."""
        return state.batches % COUNT_EVERY == 0 or self._renews(state)

    def _renews(self, state: MiniBatchState) -> bool:
        """Return whether the metrics are renewed; early ones are rough, hence also at 2, 4, 8."""
        t = state.batches
        return t % REFRESH_EVERY == 0 or t & (t - 1) == 0

    def _update_metrics_and_weights(
        self,
        state: MiniBatchState,
        batch: Batch,
        samples: Samples,
        numbers: StepScalars,
        scaling: RMSScaling,
    ) -> None:
        """Update the metric of every layer, if this batch counts, and the blocks W_l by rows."""
        layers = [l for l, metric in enumerate(state.metrics) if metric is not None]
        weight = scaling.weight
        shared: SharedProducts | None = None
        if self._device.ranks.size > 1:
            m = batch_total(samples)
            shared = SharedProducts(self._device, state, batch, weight, self._counts(state), m)

        def add(l: int) -> None:
            if shared is None:
                state.metrics[l].add(self._device.kernels, batch.V[l - 1], batch.projected[l])
            else:
                shared.count(l, state.metrics[l])

        def renew(l: int, thread: Workspaces) -> None:
            lap = laps(state.clock)
            add(l)
            if not state.metrics[l].renew(self._device, state.S[l]):
                raise FloatingPointError(
                    f"batch {state.batches + 1}: sums of squares of states overflow {self._dtype}, "
                    f"here or in the last batches; {SMALLER}"
                )
            lap("W", l)

        if self._renews(state):
            self._device.for_each_item(layers, renew)
        update = self._weight_update(state, batch, numbers, scaling, shared)
        items: list[tuple[int, slice | None]] = []
        for l in layers:
            n = len(state.W[l])
            size = even_size(n, self._device.batches.weight_rows)
            items += [(l, slice(start, start + size)) for start in range(0, n, size)]
        if self._counts(state) and not self._renews(state):
            items += [(l, None) for l in layers]

        def work(item: tuple[int, slice | None], thread: Workspaces) -> None:
            (l, rows), lap = item, laps(state.clock)
            if rows is None:
                add(l)
            else:
                update(l, rows, thread)
            lap("W", l)

        self._device.for_each_item(items, work)

    def _weight_update(
        self,
        state: MiniBatchState,
        batch: Batch,
        numbers: StepScalars,
        scaling: RMSScaling,
        shared: SharedProducts | None,
    ) -> Callable[[int, slice, Workspaces], None]:
        """Return a function that updates some rows of W_l and of its momentum M_l."""
        problem, kernels, L = self._problem, self._device.kernels, self._problem.n_layers
        momentum, averages = state.settings.momentum, self._averages(state)

        def update(l: int, rows: slice, thread: Workspaces) -> None:
            W, M, metric = state.W[l][rows], state.S[l][rows], state.metrics[l]
            penalty = problem.weight_penalties[l - 1]
            if shared is None:
                problem.layers[l - 1].batch_gradient(
                    kernels, M, batch.D[l][:, rows], batch.V[l - 1], scaling.weight[l], momentum
                )
            else:
                M *= self._dtype.type(momentum)
                M += shared.step(l, rows)
            # W = (1 - size decay) W + size M H^-1
            length = numbers.size / metric.level * (state.output_unit if l == L else 1.0)
            work = thread.of(MomentumWork).projected
            projected = work.array((len(W), metric.rank), self._dtype)
            metric.project(kernels, projected, M)
            kernels.step_weights(W, M, projected, metric.directions, length, numbers.keep)
            if penalty.ridge != 0.0 and scaling.moves(l):
                kernels.prox_weights(W, penalty, length * scaling.gradient_scale[l])
            if averages:
                kernels.mean_of_weights(state.mean_W[l][rows], W, numbers.mean_share)

        return update


def batch_total(samples: Samples) -> int:
    """Return the number of samples of a batch on all ranks."""
    return len(samples) if samples.total is None else samples.total


def loss_of_batch(device: Device, problem: Any, V: Any, Y: Any, weight: NDArray[Any] | None) -> Any:
    """Return ``sum_i weight_i loss(V_i; Y_i)``; None for weights of 1."""
    if weight is None:
        return device.kernels.loss_sum(problem.loss, V, Y)
    return device.kernels.weighted_loss_sum(problem.loss, V, Y, weight)
