"""The sweep of one mini-batch: forward pass, updates of V and U, then the step of W."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.solvers.mini_batch.batch import Batch, held_batch
from fastbcd.solvers.mini_batch.batches import Samples
from fastbcd.solvers.mini_batch.evaluation import loss_of
from fastbcd.solvers.mini_batch.noise import NO_NOISE, BatchNoise
from fastbcd.solvers.mini_batch.output_change import OutputChange
from fastbcd.solvers.mini_batch.output_metric import OutputMetrics
from fastbcd.solvers.mini_batch.rhythm import StepScalars, duties_of
from fastbcd.solvers.mini_batch.rms_scaling import RMSScaling, Sizes
from fastbcd.solvers.mini_batch.shared import SharedProducts
from fastbcd.solvers.mini_batch.state import MiniBatchState
from fastbcd.solvers.mini_batch.weight_step import WeightStep
from fastbcd.solvers.output_block import update_output_states
from fastbcd.training.clock import laps


class BatchSweep:
    """The blocks of one batch; the docstring of `MiniBatchThreeSplitting` has the formulas.

    Parameters
    ----------
    solver : MiniBatchThreeSplitting
        Hyperparameters and device.
    state : MiniBatchState
        The state before the batch.
    """

    def __init__(self, solver: Any, state: MiniBatchState) -> None:
        self._solver, self._problem, self._state = solver, solver.problem, state
        self._device: Device = solver.device
        self._duties = duties_of(solver, state)

    def learn(self, samples: Samples, numbers: StepScalars) -> None:
        """Sweep one batch; a device may repeat the launches recorded for a similar batch."""
        problem, device, state = self._problem, self._device, self._state
        in_place = samples.inputs_in_place
        batch = held_batch(problem, device, state, len(samples), in_place is None)
        if in_place is not None:
            batch.V[0] = in_place
        duties, m, noise = self._duties, samples.of_all_ranks, NO_NOISE
        if samples.noise_seed is not None:
            noise = self._solver.noise.draw(samples.noise_seed, m, samples.own, state.dtype)

        def sweep(samples: Samples, numbers: StepScalars) -> None:
            scaling = self._sweep(batch, samples, numbers, noise)
            if state.output_metrics:
                OutputMetrics(problem, device, state, batch, duties, m).weigh()
            shared = None
            if device.ranks.size > 1:
                weight, counts = scaling.weight, duties.counts
                shared = SharedProducts(problem, device, state, batch, weight, counts, m)
            change = None
            if self._solver.step_unit != "fit":
                change = OutputChange(problem, device, state, batch, samples, scaling.weight)
            WeightStep(
                problem,
                device,
                state,
                batch,
                numbers,
                scaling,
                duties,
                shared,
                change,
                spectral=self._solver.step_unit == "spectral",
                nesterov=self._solver.nesterov,
            ).run()

        measured, kind = state.batch_loss is not None, None
        if state.clock is None:
            # All that the sweep depends on, besides `parts`, `numbers` and `arrays`.
            kind = (
                len(batch),
                m,
                samples.weight is None,
                measured,
                state.settings,
                state.output_unit,
                problem,
                self._solver.displacement,
                self._solver.rho,
                self._solver.step_unit,
                self._solver.nesterov,
            )
        parts = frozenset(part for part, is_done in vars(duties).items() if is_done)
        metrics = (state.metrics, state.output_metrics)
        arrays = (batch.V, batch.loss, state.W, state.mean_W, state.S, metrics)
        arrays_before = (arrays, (state.gains, state.rms_U, state.rms_D))
        launches = state.cache.launches
        device.batches.run(launches, batch, samples, numbers, kind, parts, arrays_before, sweep)
        if in_place is not None:
            batch.V[0] = None  # a state that is kept must not keep the samples
        if measured:
            device.batches.count(state.batch_loss, batch.loss[0], m)

    def _sweep(
        self, batch: Batch, samples: Samples, numbers: StepScalars, noise: BatchNoise
    ) -> RMSScaling:
        """Compute consistent states and their updates D_l by the V- and U-blocks.

        The V_l-block takes ``scale_l D_{l+1}``, such that rms(D_l) is about ``displacement
        rms(U_l)`` for l = 1..L-1. Returns the `RMSScaling` with these factors.
        """
        state, L, m = self._state, self._problem.n_layers, samples.of_all_ranks
        if state.gains is None:
            self._guess()
        sizes = Sizes(
            counts=m * np.array([1.0, *self._problem.widths[1:]]),
            responses=np.array([0.0, *(self._response(l) for l in range(1, L + 1))]),
            displacement=self._solver.displacement,
            rounding=8.0 * float(np.finfo(state.dtype).eps),
        )
        scaling = RMSScaling(self._device, state, sizes, numbers.weight)
        for _ in range(scaling.passes):
            squares, losses = self._pass(batch, samples, noise, scaling.scale())
            try:
                settled = scaling.settle(squares)
            except FloatingPointError as problem:
                raise state.failure(f"{problem} in {state.dtype}") from None
            if settled:
                break
        if state.batch_loss is not None:
            batch.loss[:] = numbers.weight_unit * losses
        return scaling

    def _guess(self) -> None:
        """Set rms and gain ratios before the first batch, as for random weights and updates."""
        problem, device, state = self._problem, self._device, self._state
        L = problem.n_layers
        gains, rms_D = np.ones(L + 1), np.ones(L + 1)
        for l in range(1, L):
            gain = problem.layers[l].gain(device.kernels, state.W[l + 1])
            gains[l] = self._response(l) * (gain + problem.residual[l])
        rms_D[L] = self._response(L) * state.output_unit
        state.gains, state.rms_D = device.array(gains, np.float64), device.array(rms_D, np.float64)
        state.rms_U = device.array(np.ones(L + 1), np.float64)

    def _pass(
        self, batch: Batch, samples: Samples, noise: BatchNoise, scale: Any
    ) -> tuple[Any, Any]:
        """Compute states and updates of `batch`.

        Returns ``|U_l|^2`` and ``|D_l|^2`` (2, L + 1), and the loss (1,), which is divided by the
        unit of the samples' weights and is 0 unless it is measured.
        """
        problem, device, state = self._problem, self._device, self._state
        L = problem.n_layers
        squares, loss = device.sum((2, L + 1)), device.sum(1)

        def sweep(tile: Tile) -> None:
            rows, lap = tile.rows, laps(state.clock)
            part = device.zeros((2, L + 1), np.float64)
            weight = None if samples.weight is None else samples.weight[rows]
            inputs = batch.V[0][rows]
            samples.read(device, rows, inputs, batch.Y[rows])
            noise.add_to_inputs(inputs, rows)
            lap("V", 0)
            for l in range(1, L + 1):
                part[0, l] = self._forward(batch, l, rows)
                noise.mask(l, batch.V[l][rows, :-1], rows)
                lap("U", l)
            part_loss = 0.0
            if state.batch_loss is not None:
                V, Y = batch.V[L][rows, :-1], batch.Y[rows]
                part_loss = loss_of(problem, device, V, Y, weight)
            self._update_output_states(batch, tile, weight)
            lap("V", L)
            for l in range(L, 0, -1):
                if l < L:
                    self._update_V(batch, l, scale[l], rows)
                    noise.mask(l, batch.D[l][rows], rows)
                    lap("V", l)
                part[1, l] = self._update_U(batch, l, rows)
                lap("U", l)
            squares.add(tile, part)
            loss.add(tile, (part_loss,))

        work = sum(layer.multiplications for layer in problem.layers)
        device.for_each_tile(len(batch), problem.widths, state.dtype, sweep, multiplications=work)
        return squares.total(), loss.total()

    def _forward(self, batch: Batch, l: int, rows: slice) -> float:
        """``U_l = V^_{l-1} W_l^T`` and ``V_l = S_l V_{l-1} + act(U_l)``; returns ``|U_l|^2``."""
        problem, kernels, below = self._problem, self._device.kernels, batch.V[l - 1][rows]
        layer, U = problem.layers[l - 1], batch.U[l][rows]
        if self._duties.counts and layer.has_weights:
            Q = self._state.metrics[l].Q
            layer.batch_project(kernels, batch.projected[l][rows], below, Q)
        layer.batch_apply(self._device.batches.kernels, U, below, self._state.W[l])
        skipped = self._skipped(batch, l, rows)
        return kernels.activate_augmented(batch.V[l][rows], problem.activations[l - 1], U, skipped)

    def _update_output_states(
        self, batch: Batch, tile: Tile, sample_weight: NDArray[np.float64] | None
    ) -> None:
        """Write the update of V_L into D_L, which each sample's weight multiplies.

        ``V_L = argmin loss(V_L; Y) + gamma/2 |V_L - S_L V_{L-1} - U_L|^2``, where the loss's
        stiffness multiplies gamma.
        """
        device, problem, rows, L = self._device, self._problem, tile.rows, self._problem.n_layers
        V, U, D = batch.V[L][rows, :-1], batch.U[L][rows], batch.D[L][rows]
        below = self._skipped(batch, L, rows)
        D[:] = V
        gamma, Y = self._output_gamma, batch.Y[rows]
        update_output_states(device, tile, problem, D, U, below, Y, alpha=0.0, gamma=gamma)
        D -= V
        if sample_weight is not None:
            device.kernels.scale_rows(D, sample_weight)

    def _update_V(self, batch: Batch, l: int, scale: Any, rows: slice) -> None:
        """Write the update ``V_l - V_l'`` of a hidden layer into D_l.

        ``c (V_l - V_l') = scale (gamma S_{l+1}^T T_{l+1} + rho D_{l+1} W_{l+1})`` with
        ``c = 2 gamma`` if layer l + 1 is residual, else gamma. The Hessian of a column that
        S_{l+1} cuts off is gamma; a proximal term makes it 2 gamma, too, so that small updates
        follow the gradient.
        """
        problem, device, D, V = self._problem, self._device, batch.D[l][rows], batch.V[l][rows]
        skip, above, W = problem.skips[l], problem.layers[l], self._state.W[l + 1]
        share = scale / (1.0 if skip is None else 2.0)
        if skip is not None:
            skip.write_adjoint(device, D, batch.T[l + 1][rows], share)
        weight, keep = share * self._solver.rho / problem.gamma, float(skip is not None)
        above.batch_adjoint(device.batches.kernels, D, batch.D[l + 1][rows], V, W, weight, keep)

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

    @property
    def _output_gamma(self) -> float:
        return self._problem.gamma * self._problem.loss.stiffness

    def _response(self, l: int) -> float:
        """Return the update of U_l by a unit of ``D_{l+1} W_{l+1}`` (l = L: of the loss slope)."""
        problem = self._problem
        share = problem.gamma / (problem.gamma + self._solver.rho)
        if l == problem.n_layers:
            return share / (1.0 + self._output_gamma)
        return share * self._solver.rho / problem.gamma / (1.0 + problem.residual[l])
