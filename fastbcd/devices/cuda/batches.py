"""What the CUDA device does for mini-batches: their samples, numbers, graphs, sizes and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, replace
from typing import Any

import numpy as np

from fastbcd.devices.cuda.graphs import Graphs
from fastbcd.devices.cuda.plan import Plan, PlannedRows
from fastbcd.devices.protocol import Device
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.kernels import cuda as kernels


class MetricWork(Workspace):
    """Work arrays for the renewal of a metric."""

    image: Buffer
    new: Buffer
    squares: Buffer
    vectors: Buffer
    rotations: Buffer
    values: Buffer
    shrinkage: Buffer


class CUDABatches:
    """`fastbcd.devices.protocol.Batches` on a GPU."""

    weight_rows = 2**31
    """Rows of W in one update: all."""
    graphs = True
    """Whether batches that are alike are launched as CUDA graphs; ranks that share samples do
    without."""

    def __init__(self, device: Device, library: Any, shares: bool, failures: Any) -> None:
        self._device, self._library, self._failures = device, library, failures
        self._shares = shares  # whether ranks share the samples: they send each other messages
        self._counts: dict[int, tuple[Any, Any]] = {}

    def resident(self, data: Any) -> Any:
        """Samples on the GPU, in their own type; memory-mapped files stay where they are."""
        if isinstance(data, np.memmap):
            return data
        kind = data.dtype if data.dtype.kind in "fiub" and data.dtype.itemsize > 2 else None
        return self._device.array(data, kind or np.promote_types(data.dtype, np.uint8))

    def rows_of(self, data: Any, index: Any) -> Any:
        """Some rows of samples, as a NumPy array."""
        if isinstance(data, np.ndarray):
            return data[index]
        return self._device.numpy(data[self._device.array(index, np.int64)])

    def planned(
        self, cache: dict[Any, Any], batches: Sequence[Any], numbers: Sequence[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Samples and numbers of each batch of a pass, as `run_batch` takes them.

        Where the samples lie on the GPU, the whole pass is laid out there; memory-mapped ones are
        read a batch at a time, and ranks that share samples send each other messages.
        """
        first = batches[0]
        if isinstance(first.X, np.memmap) or isinstance(first.Y, np.memmap) or self._shares:
            for samples, of_batch in zip(batches, numbers, strict=True):
                yield (
                    samples.on(self._device, self._device.array(samples.index, np.int64)),
                    of_batch,
                )
            return
        weighted = first.weight is not None
        shape = sum(map(len, batches)), len(batches), weighted
        plan = cache.get("plan")
        if plan is None or plan.shape != shape:
            plan = cache["plan"] = Plan(self._device, shape[0], shape[1], numbers[0], weighted)
        plan.lay_out(self._device, batches, numbers)
        for samples, of_batch in zip(batches, numbers, strict=True):
            yield replace(samples, index=PlannedRows(plan, len(samples))), of_batch

    def take(self, out: Any, data: Any, rows: Any) -> Any:
        """``out = data[rows]``; returns them in whichever type is at hand."""
        if isinstance(data, np.memmap):
            part = np.asarray(data[rows if isinstance(rows, slice) else self._device.numpy(rows)])
            out[...] = self._device.array(part, part.dtype)
        elif isinstance(rows, slice):
            part = data[rows]
            out[...] = self._device.array(part, part.dtype)
        else:
            self._device.kernels.gather(out, data, rows)
        return out

    def run(
        self,
        cache: dict[Any, Any],
        batch: Any,
        samples: Any,
        numbers: Any,
        kind: Any,
        parts: frozenset[str],
        arrays: Any,
        sweep: Callable[[Any, Any], None],
    ) -> None:
        """``sweep(samples, numbers)``, samples and numbers on the GPU.

        The launches of batches that are alike are one CUDA graph, unless `graphs` is off.

        Parameters
        ----------
        cache : dict
            Where graphs are kept.
        batch : Batch
            Where samples are read to.
        samples, numbers
            From `planned`, or of a batch by itself.
        kind : hashable or None
            All that the sweep depends on, beside `parts`, `numbers` and contents of arrays: two
            batches of one kind, with the same parts and arrays, launch the same work. None: there
            is no such kind.
        parts : frozenset of str
            What this batch does beside what all do.
        arrays : nested lists and tuples
            What it works on, that its caller may have replaced since the last time.
        sweep : callable
            Launches work and leaves no array behind that it made. It must not ask the GPU.
        """
        rows = samples.index
        if isinstance(rows, PlannedRows):
            plan, X, Y = rows.plan, samples.X, samples.Y
            arrays = (arrays, X, Y, plan.arrays())
            weight = None if samples.weight is None else batch.weight
            read = replace(samples, weight=weight, is_read=True)

            def body() -> None:
                plan.fetch(batch, X, Y)
                sweep(read, plan.numbers)
                plan.advance(len(batch))

        else:
            read, views = self._fetched(samples, batch), self._set(cache, numbers)

            def body() -> None:
                sweep(read, views)

        if kind is None or not self.graphs or self._shares:
            body()
            return
        if "graphs" not in cache:
            cache["graphs"] = Graphs(self._library, self._device.work)
        cache["graphs"].run((kind, isinstance(rows, PlannedRows)), parts, arrays, body)

    def _fetched(self, samples: Any, batch: Any) -> Any:
        """Samples of a `batch`, read into its arrays, which are the same for all batches."""
        m = len(batch)
        samples.read(self._device, slice(0, m), batch.V[0], batch.Y)
        if samples.weight is not None:
            batch.weight[...] = samples.weight
            samples = replace(samples, weight=batch.weight)
        return replace(samples, is_read=True)

    def _set(self, cache: dict[Any, Any], numbers: Any) -> Any:
        """The fields of `numbers`, a dataclass of floats, as arrays (1,) that stay in place."""
        values = tuple(map(float, astuple(numbers)))
        if "numbers" not in cache:
            held = self._device.empty((len(values),), np.float64)
            views = type(numbers)(*(held[k : k + 1] for k in range(len(values))))
            cache["numbers"] = held, views
        held, views = cache["numbers"]
        self._device.kernels.set_numbers(held, values)
        return views

    def count(self, total: Any, number: Any, n: int) -> None:
        """Add (number, n) to `total` (2,), an array of the processor, when the session ends."""
        if id(total) not in self._counts:
            self._counts[id(total)] = total, self._device.zeros((2,), np.float64)
        sums = self._counts[id(total)][1]
        sums[0] += number
        sums[1] += n

    def fetch_counts(self) -> None:
        """Add what was counted in this session."""
        for total, sums in self._counts.values():
            total += self._library.host(sums)

    def forget_counts(self) -> None:
        """A session has ended."""
        self._counts.clear()

    def scalar(self, value: float) -> Any:
        """A number that batches change: an array (1,), which a graph may read and write."""
        return self._device.array(np.full(1, value, np.float64), np.float64)

    def passes(self, first: bool) -> int:
        """Two over the first batch, whose gains are a guess: the first pass measures them.

        A later batch takes one. Where it is far off it corrects the gains for the next batch.
        """
        return 2 if first else 1

    def settled(self, status: None) -> bool:
        """False: how many passes follow is fixed."""
        return False

    def is_positive(self, number: Any) -> bool:
        """True: the GPU is not asked, and a step of length 0 is taken, too."""
        return True

    def renew_metric(self, metric: Any, S: Any) -> bool:
        """Directions and level from the eigenvectors of ``image^T image``; see `renew`.

        The smallest singular values of the image lose digits, which only directions without
        weight feel. Nothing asks the host, so that a renewal is part of a batch's graph.
        """
        device, library, (d, r) = self._device, self._library, metric.Q.shape
        work = device.work.of(MetricWork)
        image, new = (buffer.array((d, r), np.float64) for buffer in (work.image, work.new))
        squares, vectors = (b.array((r, r), np.float64) for b in (work.squares, work.vectors))
        coefficients, scale = work.values.array((2, max(r, 1)), np.float64)
        shrinkage = work.shrinkage.array((1,), np.float64)
        image[...] = metric.sketch
        if r:
            library.gemm(squares, image, image, transpose_A=True)
            rotations = work.rotations.array((2, r), np.float64)
            kernels.eigenvectors_in_a_block(squares, vectors, rotations)
        kernels.ritz_values(
            coefficients[:r],
            scale[:r],
            shrinkage,
            metric.level,
            squares,
            vectors,
            metric.trace_sum,
            metric.batches,
            d,
            metric.damping,
            metric.ceiling,
            self._failures,
        )
        if r:
            library.gemm(new, image, vectors)
            kernels.turn_directions(
                metric.Q, metric.directions, new, metric.first, scale[:r], coefficients[:r]
            )
        device.scaled(S, S, shrinkage)
        for sums in (metric.sketch, metric.batches, metric.trace_sum):
            sums[...] = 0.0
        return True
