"""The W-blocks of one mini-batch, and the metrics in which they step."""

from __future__ import annotations

from dataclasses import dataclass

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import even_size
from fastbcd.devices.workspace import Buffer, Workspace, Workspaces
from fastbcd.problem import Problem
from fastbcd.solvers.mini_batch.batch import Batch
from fastbcd.solvers.mini_batch.rhythm import Duties, StepScalars
from fastbcd.solvers.mini_batch.rms_scaling import RMSScaling
from fastbcd.solvers.mini_batch.shared import SharedProducts
from fastbcd.solvers.mini_batch.state import MiniBatchState
from fastbcd.training.clock import laps


class MomentumWork(Workspace):
    """Work array of a thread: ``M_l Q_l`` for some rows of the momentum."""

    projected: Buffer


@dataclass(frozen=True)
class WeightStep:
    """The step of all W_l after the updates D_l of a batch.

    `shared` are the sums over the batch of all ranks; None for one process.
    """

    problem: Problem
    device: Device
    state: MiniBatchState
    batch: Batch
    numbers: StepScalars
    scaling: RMSScaling
    duties: Duties
    shared: SharedProducts | None

    def run(self) -> None:
        """Renew the metric of every layer, if this batch does, and update the W_l by rows."""
        state, device, duties = self.state, self.device, self.duties
        layers = [l for l, metric in enumerate(state.metrics) if metric is not None]
        if duties.renews:
            device.for_each_item(layers, self._renew)
        items: list[tuple[int, slice | None]] = []
        for l in layers:
            n = len(state.W[l])
            size = even_size(n, device.batches.weight_rows)
            items += [(l, slice(start, start + size)) for start in range(0, n, size)]
        if duties.counts and not duties.renews:
            items += [(l, None) for l in layers]
        device.for_each_item(items, self._work)

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
        """Update some rows of W_l; without rows, count the batch in the metric of layer l."""
        (l, rows), lap = item, laps(self.state.clock)
        if rows is None:
            self._count(l)
        else:
            self._update(l, rows, thread)
        lap("W", l)

    def _count(self, l: int) -> None:
        """Count the batch in the metric of layer l."""
        batch, metric, layer = self.batch, self.state.metrics[l], self.problem.layers[l - 1]
        if self.shared is None:
            metric.add(self.device.kernels, batch.V[l - 1], batch.projected[l], layer)
        else:
            self.shared.count(l, metric)

    def _update(self, l: int, rows: slice, thread: Workspaces) -> None:
        """Update some rows of the momentum M_l, and of W_l.

        ``W = (1 - size decay) W + size M H^-1``
        """
        problem, state, batch = self.problem, self.state, self.batch
        kernels, numbers, scaling = self.device.kernels, self.numbers, self.scaling
        W, M, metric = state.W[l][rows], state.S[l][rows], state.metrics[l]
        momentum, penalty = state.settings.momentum, problem.weight_penalties[l - 1]
        if self.shared is None:
            layer = problem.layers[l - 1]
            D, V = layer.columns(batch.D[l], rows), batch.V[l - 1]
            layer.batch_gradient(kernels, M, D, V, scaling.weight[l], momentum)
        else:
            M *= state.dtype.type(momentum)
            M += self.shared.step(l, rows)
        unit = state.output_unit if l == problem.n_layers else 1.0
        length = numbers.size / metric.level * unit
        work = thread.of(MomentumWork).projected
        projected = work.array((len(W), metric.rank), state.dtype)
        metric.project(kernels, projected, M)
        kernels.step_weights(W, M, projected, metric.directions, length, numbers.keep)
        if penalty.ridge != 0.0 and scaling.moves(l):
            kernels.prox_weights(W, penalty, length * scaling.gradient_response[l])
        if self.duties.averages:
            kernels.mean_of_weights(state.mean_W[l][rows], W, numbers.mean_share)
