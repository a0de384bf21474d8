"""The metric of the outputs in the mini-batch W-block, applied to the updates of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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


@dataclass(frozen=True)
class OutputMetrics:
    """``D_l = D_l B_l^-1`` with ``B_l = (C_l + 0.1 tr(C_l)/d_l I)^(1/2) / level^(1/2)``.

    C_l is the running mean of ``d_l d_l^T``, d_l being the update of a sample's pre-activations,
    or of one position's if the layer is a convolution. The W-block that follows is

    .. code-block:: text

        Z_l = argmin -<Z, D_l^T V^_{l-1}> / m + tr(B_l Z H_l Z^T) / 2 = B_l^-1 M_l H_l^-1

    for M_l without momentum. Eigenvalues of B_l are 1, and more in the directions in which the
    updates of all samples agree: there the proximal term is larger, so that they do not hide the
    others. C_l is kept in low rank as G_l is (`GramMetric`).

    `state` holds the metrics, `duties` says whether this batch counts and renews them, and `m` is
    the number of samples of the batch on all ranks.
    """

    problem: Problem
    device: Device
    state: MiniBatchState
    batch: Batch
    duties: Duties
    m: int

    def weigh(self) -> None:
        """Count the batch and renew the metrics, if it is time, and replace the updates D_l."""
        layers = [l for l, metric in enumerate(self.state.output_metrics) if metric is not None]
        if self.duties.counts and self.device.ranks.size > 1:
            self._count_on_all_ranks(layers)
        self.device.for_each_item(layers, self._of_layer)

    def _of_layer(self, l: int, thread: Workspaces) -> None:
        lap, metric, D = laps(self.state.clock), self.state.output_metrics[l], self._updates(l)
        projected = self._projected(l, thread)
        if self.duties.counts and self.device.ranks.size == 1:
            metric.count(self._sketch(l, metric.sketch, projected, keep=1.0))
        if self.duties.renews:
            if not metric.renew(self.device, None):
                raise self.state.failure(f"squares of updates overflow {self.state.dtype}")
            projected = self._projected(l, thread)
        self.device.kernels.product(D, projected, metric.directions, -1.0, 1.0)
        lap("W", l)

    def _count_on_all_ranks(self, layers: list[int]) -> None:
        """Add the sums over the batch of all ranks to the metrics."""
        device, metrics = self.device, self.state.output_metrics
        traces = device.zeros((len(metrics),), np.float64)
        for l in layers:
            shape, dtype = metrics[l].Q.shape, self.state.dtype
            sketch = device.work.of(SketchWork, l).sketch.array(shape, dtype)
            if len(self.batch):
                traces[l] = self._sketch(l, sketch, self._projected(l, device.work), keep=0.0)
            else:
                sketch[:] = 0.0
            device.sum_over_ranks(sketch)
            metrics[l].sketch += sketch
        device.sum_over_ranks(traces)
        for l in layers:
            metrics[l].count(traces[l])

    def _sketch(self, l: int, out: Any, projected: Any, keep: float) -> Any:
        """``out = D_l^T D_l Q / n + keep out`` for n rows on all ranks; returns ``|D_l|^2 / n``."""
        kernels, D = self.device.kernels, self._updates(l)
        share = 1.0 / (self.m * (len(D) // len(self.batch)))
        kernels.transposed_product(out, D, projected, share, keep)
        return kernels.squared_norm(D) * share

    def _projected(self, l: int, thread: Workspaces) -> Any:
        """Return ``D_l Q``."""
        metric, D = self.state.output_metrics[l], self._updates(l)
        projected = thread.of(ProjectionWork).projected.array((len(D), metric.rank), D.dtype)
        metric.project(self.device.kernels, projected, D)
        return projected

    def _updates(self, l: int) -> Any:
        """Return D_l with a row for each sample and position, a column for each row of W_l."""
        return self.batch.D[l].reshape(-1, self.problem.layers[l - 1].weight_shape[0])
