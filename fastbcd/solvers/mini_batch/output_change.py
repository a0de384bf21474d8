"""The change of the layers' outputs by a step of W, measured on some samples of the batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.workspace import Buffer, Workspace, Workspaces
from fastbcd.problem import Problem
from fastbcd.solvers.mini_batch.batch import Batch
from fastbcd.solvers.mini_batch.batches import Samples
from fastbcd.training.clock import laps

# The change is measured on at least so many samples of a larger batch, and on fewer than twice as
# many. The error is then 3 to 8 % (benchmarks/NOTES.md), which is little for a step size.
MEASURED = 32


class Steps(Workspace):
    """Memory for the direction Z_l of a layer."""

    Z: Buffer


class ChangeWork(Workspace):
    """Work array of a thread: the change of the outputs of some samples."""

    change: Buffer


class OutputChange:
    """``rms_l = rms(A_l(V_{l-1}; Z_l))`` for directions Z_l, over some samples and all outputs.

    It is ``sqrt(tr(Z_l G Z_l^T) / n_outputs)`` with the Gram matrix G of these samples, a patch
    of an image being a sample of a convolution. So ``W_l + eta Z_l / rms_l`` changes the
    pre-activations U_l by eta in the root mean square. The samples are every k-th of the batch of
    all ranks, so they do not depend on the ranks. Each counts once, whatever its weight.

    Parameters
    ----------
    problem : Problem
    device : Device
    state : MiniBatchState
    batch : Batch
        This rank's states.
    samples : Samples
        Their place in the batch of all ranks.
    weight : (L + 1,) array
        From `RMSScaling`: 0 for a layer that does not move.
    """

    def __init__(
        self,
        problem: Problem,
        device: Device,
        state: Any,
        batch: Batch,
        samples: Samples,
        weight: Any,
    ) -> None:
        self._problem, self._device, self._state = problem, device, state
        self._batch, self._weight = batch, weight
        m = samples.of_all_ranks
        every = max(1, m // MEASURED)
        self._rows = range(-samples.before % every, len(batch), every)
        self._measured = -(-m // every)
        self._layers = [l for l, metric in enumerate(state.metrics) if metric is not None]
        self.directions = {
            l: device.work.of(Steps, l).Z.array(state.W[l].shape, state.dtype) for l in self._layers
        }
        """Memory for each Z_l, which has the shape of W_l."""
        self._squares: Any = None

    def measure(self) -> None:
        """Compute rms_l for the directions that are in memory now."""
        device, state, rows, kernels = self._device, self._state, self._rows, self._device.kernels
        squares = device.zeros((len(state.W),), np.float64)

        def add(l: int, thread: Workspaces) -> None:
            layer, lap = self._problem.layers[l - 1], laps(state.clock)
            V = self._batch.V[l - 1][rows.start : rows.stop : rows.step]
            change = thread.of(ChangeWork).change.array((len(rows), layer.d_out), state.dtype)
            if len(rows):
                layer.batch_apply(kernels, change, V, self.directions[l])
                squares[l] = kernels.squared_norm(change)
            lap("W", l)

        device.for_each_item(self._layers, add)
        device.sum_over_ranks(squares)
        self._squares = squares

    def per_unit(self, l: int) -> Any:
        """Return ``1 / rms_l``; 0 if nothing moves."""
        squares, count = self._squares[l], self._measured * self._problem.layers[l - 1].d_out
        moves = (squares > 0.0) & (self._weight[l] > 0.0)
        # Where nothing moves the divisor is 1 or more: a tiny one would give infinity times 0.
        return moves * (count / (squares + (1.0 - moves))) ** 0.5
