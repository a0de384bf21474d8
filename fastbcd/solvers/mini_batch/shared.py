"""The sums over a batch that its W-blocks need, if its samples are spread over ranks."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.workspace import Workspaces
from fastbcd.problem import Problem
from fastbcd.solvers.mini_batch.batch import Batch


class SharedProducts:
    """``N_l = w_l D_l^T V^_{l-1}`` and the sketches of the metrics, over the batch of all ranks.

    Each rank multiplies its own samples; one message adds up the products of all layers.

    Parameters
    ----------
    problem : Problem
    device : Device
    state : MiniBatchState
    batch : Batch
        This rank's samples of the batch, possibly none.
    weight : (L + 1,) array
        The w_l.
    counts : bool
        The metrics count this batch.
    m : int
        Number of samples of the batch on all ranks.
    """

    def __init__(
        self,
        problem: Problem,
        device: Device,
        state: Any,
        batch: Batch,
        weight: Any,
        counts: bool,
        m: int,
    ) -> None:
        layers = [l for l, metric in enumerate(state.metrics) if metric is not None]
        shapes = {("N", l): state.W[l].shape for l in layers}
        if counts:
            shapes |= {("sketch", l): state.metrics[l].Q.shape for l in layers}
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        dtype = state.W[1].dtype
        # The memory is kept from batch to batch and grows when a batch needs more.
        whole = state.cache.products
        if whole is None or len(whole) < sum(sizes):
            whole = state.cache.products = device.empty((sum(sizes),), dtype)
        buffer, starts = whole[: sum(sizes)], np.cumsum([0, *sizes])
        self._parts = {
            key: buffer[start : start + size].reshape(shape)
            for (key, shape), start, size in zip(shapes.items(), starts, sizes, strict=False)
        }
        self._traces = device.zeros((len(state.W),), np.float64)
        kernels = device.kernels

        def multiply(key: tuple[str, int], thread: Workspaces) -> None:
            (kind, l), out = key, self._parts[key]
            layer, V = problem.layers[l - 1], batch.V[l - 1]
            if len(batch) == 0:
                out[:] = 0.0
            elif kind == "N":
                D, of_batches = batch.D[l], device.batches.kernels
                layer.batch_gradient(of_batches, out, D, V, weight[l], 0.0)
            else:
                Q, projected = state.metrics[l].Q, batch.projected[l]
                squares = layer.batch_sketch(kernels, out, V, Q, projected, 1.0 / m, 0.0)
                self._traces[l] = squares / m

        device.for_each_item(list(shapes), multiply)
        device.sum_over_ranks(buffer)
        if counts:
            device.sum_over_ranks(self._traces)

    def step(self, l: int, rows: slice) -> Any:
        """Return some rows of N_l."""
        return self._parts["N", l][rows]

    def count(self, l: int, metric: Any) -> None:
        """Add the batch to the `metric` of layer l."""
        metric.add_products(self._parts["sketch", l], self._traces[l])
