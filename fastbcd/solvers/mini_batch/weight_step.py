"""The W-blocks of one mini-batch, and the metrics in which they step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import even_size
from fastbcd.devices.workspace import Buffer, Workspace, Workspaces
from fastbcd.problem import Problem
from fastbcd.solvers.mini_batch.batch import Batch
from fastbcd.solvers.mini_batch.output_change import OutputChange
from fastbcd.solvers.mini_batch.rhythm import Duties, StepScalars
from fastbcd.solvers.mini_batch.rms_scaling import RMSScaling
from fastbcd.solvers.mini_batch.shared import SharedProducts
from fastbcd.solvers.mini_batch.spectral import spread
from fastbcd.solvers.mini_batch.state import MiniBatchState
from fastbcd.training.clock import laps

# A thread takes so many numbers of W at a time, but at least a few rows: a wide layer has few rows,
# which would be the work of one thread.
NUMBERS, SMALLEST = 2**22, 8


class MomentumWork(Workspace):
    """Work array of a thread: ``M_l Q_l`` for some rows of the momentum."""

    projected: Buffer


class AheadWork(Workspace):
    """Memory for the momentum ahead of a layer."""

    ahead: Buffer


@dataclass(frozen=True)
class WeightStep:
    """The step of all W_l after the updates D_l of a batch.

    `shared` are the sums over the batch of all ranks; None for one process. `change` measures the
    steps, if the step size is their change of the outputs; else it is None. `spectral` asks for
    steps that change the outputs alike in all directions; then `change` is there. With `nesterov`
    steps follow the momentum ahead, ``momentum M + (1 - momentum) D^T V^ / (m rms(D))`` for the
    new M.
    """

    problem: Problem
    device: Device
    state: MiniBatchState
    batch: Batch
    numbers: StepScalars
    scaling: RMSScaling
    duties: Duties
    shared: SharedProducts | None
    change: OutputChange | None
    spectral: bool
    nesterov: bool

    def run(self) -> None:
        """Renew the metric of every layer, if this batch does, and update the W_l by rows."""
        state, device, duties = self.state, self.device, self.duties
        layers = [l for l, metric in enumerate(state.metrics) if metric is not None]
        for l in layers:
            self._followed(l)  # the memory is made here, where no two threads can make it
        if duties.renews:
            device.for_each_item(layers, self._renew)
        items: list[tuple[int, slice | None]] = []
        for l in layers:
            n = len(state.W[l])
            most = min(device.batches.weight_rows, max(SMALLEST, NUMBERS // state.W[l].shape[1]))
            size = even_size(n, most)
            items += [(l, slice(start, start + size)) for start in range(0, n, size)]
        if duties.counts and not duties.renews:
            items += [(l, None) for l in layers]
        device.for_each_item(items, self._work)
        if self.change is not None:  # the size of a row's step depends on all rows
            if self.spectral:
                device.for_each_item(layers, self._spread)
            self.change.measure()
            of_weights = [(l, rows) for l, rows in items if rows is not None]
            device.for_each_item(of_weights, self._move)

    def _renew(self, l: int, thread: Workspaces) -> None:
        """Count the batch in the metric of layer l, and renew it."""
        state, lap = self.state, laps(self.state.clock)
        self._count(l)
        if not state.metrics[l].renew(self.device, state.S[l]):
            raise state.failure(
                f"sums of squares of states overflow {state.dtype}, here or in the last batches"
            )
        lap("W", l)

    def _work(self, item: tuple[int, slice | None], thread: Workspaces) -> None:
        """Update some rows of W_l, or their direction if its change is to be measured.

        Without rows, count the batch in the metric of layer l.
        """
        (l, rows), lap = item, laps(self.state.clock)
        if rows is None:
            self._count(l)
        else:
            self._add_to_momentum(l, rows)
            if self.change is None:
                self._update(l, rows, thread)
            else:
                self._direct(l, rows, thread, self.change)
        lap("W", l)

    def _count(self, l: int) -> None:
        """Count the batch in the metric of layer l."""
        batch, metric, layer = self.batch, self.state.metrics[l], self.problem.layers[l - 1]
        if self.shared is None:
            metric.add(self.device.kernels, batch.V[l - 1], batch.projected[l], layer)
        else:
            self.shared.count(l, metric)

    def _add_to_momentum(self, l: int, rows: slice) -> None:
        """``M = momentum M + (1 - momentum) D^T V^ / (m rms(D))`` for some rows."""
        state, batch, M = self.state, self.batch, self.state.S[l][rows]
        momentum = state.settings.momentum
        new, keep, factor = M, momentum, 1.0
        if self.nesterov:
            new, keep, factor = self._followed(l)[rows], 0.0, 1.0 / (1.0 - momentum)
        if self.shared is None:
            layer, weight = self.problem.layers[l - 1], self.scaling.weight[l] * factor
            D, V = layer.columns(batch.D[l], rows), batch.V[l - 1]
            layer.batch_gradient(self.device.batches.kernels, new, D, V, weight, keep)
        elif self.nesterov:
            new[:] = self.shared.step(l, rows)
            new *= state.dtype.type(factor)
        else:
            M *= state.dtype.type(momentum)
            M += self.shared.step(l, rows)
        if self.nesterov:
            # Both are means: M of the old M and the new product, then the latter of itself and M.
            mean = self.device.kernels.mean_of_weights
            mean(M, new, 1.0 - momentum)
            mean(new, M, momentum)

    def _followed(self, l: int) -> Any:
        """Return what the step of layer l follows: the momentum M_l, or memory for M_l ahead."""
        M = self.state.S[l]
        if not self.nesterov:
            return M
        return self.device.work.of(AheadWork, l).ahead.array(M.shape, M.dtype)

    def _projected(self, l: int, rows: slice, thread: Workspaces) -> Any:
        """Return ``M Q`` for some rows of M_l."""
        state, metric, M = self.state, self.state.metrics[l], self._followed(l)[rows]
        work = thread.of(MomentumWork).projected
        projected = work.array((len(M), metric.rank), state.dtype)
        metric.project(self.device.kernels, projected, M)
        return projected

    def _update(self, l: int, rows: slice, thread: Workspaces) -> None:
        """``W = (1 - size decay) W + size M H^-1`` for some rows."""
        kernels, state, numbers = self.device.kernels, self.state, self.numbers
        W, M, metric = state.W[l][rows], self._followed(l)[rows], state.metrics[l]
        length = numbers.size / metric.level * self._unit(l)
        projected = self._projected(l, rows, thread)
        kernels.step_weights(W, M, projected, metric.directions, length, numbers.keep)
        self._complete(l, rows, length)

    def _direct(self, l: int, rows: slice, thread: Workspaces, change: OutputChange) -> None:
        """``Z = level M H^-1`` for some rows."""
        M, metric, Z = self._followed(l)[rows], self.state.metrics[l], change.directions[l][rows]
        Z[...] = 0.0
        projected = self._projected(l, rows, thread)
        self.device.kernels.step_weights(Z, M, projected, metric.directions, 1.0, 1.0)

    def _spread(self, l: int, thread: Workspaces) -> None:
        """Multiply the directions of a layer by the inverse root of their second moment."""
        change, state, lap = self.change, self.state, laps(self.state.clock)
        assert change is not None
        groups = self.problem.layers[l - 1].weight_groups
        if not spread(self.device.kernels, change.directions[l], self._followed(l), groups, thread):
            raise state.failure(f"products of steps overflow {state.dtype}")
        lap("W", l)

    def _move(self, item: tuple[int, slice], thread: Workspaces) -> None:
        """``W = (1 - size decay) W + size Z / rms(A(V; Z))`` for some rows."""
        (l, rows), lap, change = item, laps(self.state.clock), self.change
        assert change is not None
        W, Z, numbers = self.state.W[l][rows], change.directions[l][rows], self.numbers
        length = numbers.size * change.per_unit(l) * self._unit(l)
        # Z is in the metric already, so no directions are left to take from it.
        projected = self.device.empty((len(W), 0), W.dtype)
        directions = self.state.metrics[l].directions[:0]
        kernels = self.device.kernels
        kernels.step_weights(W, Z, projected, directions, length, numbers.keep)
        self._complete(l, rows, length)
        lap("W", l)

    def _unit(self, l: int) -> float:
        """Return the unit of the size of the step of W_l."""
        return self.state.output_unit if l == self.problem.n_layers else 1.0

    def _complete(self, l: int, rows: slice, length: Any) -> None:
        """Take the proximal step of the penalty, and count some rows of W_l in their mean."""
        state, kernels, scaling = self.state, self.device.kernels, self.scaling
        W, penalty = state.W[l][rows], self.problem.weight_penalties[l - 1]
        if penalty.ridge != 0.0 and scaling.moves(l):
            kernels.prox_weights(W, penalty, length * scaling.gradient_response[l])
        if self.duties.averages:
            kernels.mean_of_weights(state.mean_W[l][rows], W, self.numbers.mean_share)
