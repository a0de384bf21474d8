"""The metric of the outputs in the mini-batch W-block, applied to the updates of a batch."""

from __future__ import annotations

from typing import Any

from fastbcd.devices.protocol import Device
from fastbcd.devices.workspace import Buffer, Workspace, Workspaces
from fastbcd.problem import Problem
from fastbcd.solvers.mini_batch.batch import Batch
from fastbcd.solvers.mini_batch.rhythm import Duties
from fastbcd.solvers.mini_batch.state import MiniBatchState
from fastbcd.training.clock import laps

# The damping of this metric, in units of the mean eigenvalue of C_l.
OUTPUT_DAMPING = 0.1
# The mean of earlier batches counts as so many. A batch has few samples for a matrix d_l x d_l, and
# without a memory half of the gain is lost.
REMEMBERED = 8


class ProjectionWork(Workspace):
    """Work array of a thread: the updates ``D_l Q`` in the directions that the metric keeps."""

    projected: Buffer


class SketchWork(Workspace):
    """Memory for ``D_l^T D_l Q`` of a layer."""

    sketch: Buffer


class OutputMetrics:
    """``D_l = D_l B_l^-1`` with ``B_l = (C_l + 0.1 tr(C_l)/d_l I)^(1/2) / level^(1/2)``.

    C_l is the running mean of ``d_l d_l^T``, d_l being the update of a sample's pre-activations,
    or of one position's if the layer is a convolution. The W-block that follows is

    .. code-block:: text

        Z_l = argmin -<Z, D_l^T V^_{l-1}> / m + tr(B_l Z H_l Z^T) / 2 = B_l^-1 M_l H_l^-1

    for M_l without momentum. Eigenvalues of B_l are 1, and more in the directions in which the
    updates of all samples agree: there the proximal term is larger, so that they do not hide the
    others. C_l is kept in low rank as G_l is (`GramMetric`).

    Parameters
    ----------
    problem : Problem
    device : Device
    state : MiniBatchState
        Its ``output_metrics`` count the batch and are renewed.
    batch : Batch
        This rank's states and updates.
    duties : Duties
        Whether this batch counts and renews.
    m : int
        Number of samples of the batch on all ranks.
    """

    def __init__(
        self,
        problem: Problem,
        device: Device,
        state: MiniBatchState,
        batch: Batch,
        duties: Duties,
        m: int,
    ) -> None:
        self._problem, self._device, self._state = problem, device, state
        self._batch, self._duties, self._m = batch, duties, m
        self._layers = [l for l, metric in enumerate(state.output_metrics) if metric is not None]

    def weigh(self) -> None:
        """Count the batch and renew the metrics, if it is time, and replace the updates D_l."""
        device, ranks = self._device, self._device.ranks
        if self._duties.counts and ranks.size > 1:
            self._count_on_all_ranks()
        device.for_each_item(self._layers, self._of_layer)

    def _of_layer(self, l: int, thread: Workspaces) -> None:
        lap, metric, D = laps(self._state.clock), self._state.output_metrics[l], self._updates(l)
        projected = thread.of(ProjectionWork).projected.array((len(D), metric.rank), D.dtype)
        kernels = self._device.kernels
        if self._duties.counts and self._device.ranks.size == 1:
            metric.project(kernels, projected, D)
            share = 1.0 / len(D)
            kernels.transposed_product(metric.sketch, D, projected, share, 1.0)
            metric.count(kernels.squared_norm(D) * share)
        if self._duties.renews and not metric.renew(self._device, None):
            raise self._state.failure(f"squares of updates overflow {self._state.dtype}")
        metric.project(kernels, projected, D)
        kernels.product(D, projected, metric.directions, -1.0, 1.0)
        lap("W", l)

    def _count_on_all_ranks(self) -> None:
        """Add the sums over the batch of all ranks to the metrics."""
        device, kernels, state = self._device, self._device.kernels, self._state
        traces = device.zeros((len(state.W),), "float64")
        for l in self._layers:
            metric, D = state.output_metrics[l], self._updates(l)
            sketch = device.work.of(SketchWork, l).sketch.array(metric.Q.shape, state.dtype)
            sketch[:] = 0.0
            if len(D):
                share = 1.0 / (self._m * (len(D) // len(self._batch)))
                projected = device.work.of(ProjectionWork).projected
                projected = projected.array((len(D), metric.rank), D.dtype)
                metric.project(kernels, projected, D)
                kernels.transposed_product(sketch, D, projected, share, 0.0)
                traces[l] = kernels.squared_norm(D) * share
            device.sum_over_ranks(sketch)
            metric.sketch += sketch
        device.sum_over_ranks(traces)
        for l in self._layers:
            state.output_metrics[l].count(traces[l])

    def _updates(self, l: int) -> Any:
        """Return D_l with a row for each sample and position, a column for each row of W_l."""
        return self._batch.D[l].reshape(-1, self._problem.layers[l - 1].weight_shape[0])
