"""Mini-batches on the CUDA device: their samples, step scalars, graphs, sizes and metrics."""

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

    sketch: Buffer
    new: Buffer
    squares: Buffer
    vectors: Buffer
    rotations: Buffer
    values: Buffer
    shrinkage: Buffer


class CUDABatches:
    """`fastbcd.devices.protocol.Batches` on a GPU."""

    weight_rows = 2**31
    """The number of rows of W in one update: all."""
    graphs = True
    """True if equal batches are launched as CUDA graphs; ranks that share samples have none."""

    def __init__(self, device: Device, library: Any, shares: bool, failures: Any) -> None:
        self._device, self._library, self._failures = device, library, failures
        self._shares = shares  # whether ranks share the samples: they send each other messages
        self._counts: dict[int, tuple[Any, Any]] = {}

    @property
    def kernels(self) -> Any:
        """The kernels of the device, whose products have the precision of all its products."""
        return self._device.kernels

    def resident(self, data: Any) -> Any:
        """Return samples on the GPU, in their own type; memory-mapped files stay where they are."""
        if isinstance(data, np.memmap):
            return data
        kind = data.dtype if data.dtype.kind in "fiub" and data.dtype.itemsize > 2 else None
        return self._device.array(data, kind or np.promote_types(data.dtype, np.uint8))

    def rows_of(self, data: Any, index: Any) -> Any:
        """Return some rows of samples as a NumPy array."""
        if isinstance(data, np.ndarray):
            return data[index]
        return self._device.numpy(data[self._device.array(index, np.int64)])

    def planned(
        self, cache: dict[Any, Any], batches: Sequence[Any], numbers: Sequence[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Yield samples and numbers of each batch of a pass, as `run` takes them.

        If the samples are on the GPU, the order of the whole pass is laid out there. Memory-mapped
        samples are read a batch at a time, and so are samples that ranks share.
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
        """``out = data[rows]``; returns the rows, of the dtype of `data` or of `out`."""
        if isinstance(rows, slice):
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
        """Call ``sweep(samples, numbers)`` with samples and numbers on the GPU.

        The launches of equal batches are one CUDA graph in `cache`, unless `graphs` is off.
        Parameters are those of `fastbcd.devices.protocol.Batches.run`: `batch` is the memory of the
        samples; two batches of one `kind`, with the same `parts` and `arrays`, are equal.
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
        """Read samples into the arrays of a `batch`, which are the same for all batches."""
        m = len(batch)
        samples.read(self._device, slice(0, m), batch.V[0], batch.Y)
        if samples.weight is not None:
            batch.weight[...] = samples.weight
            samples = replace(samples, weight=batch.weight)
        return replace(samples, is_read=True)

    def _set(self, cache: dict[Any, Any], numbers: Any) -> Any:
        """Return `numbers`, a dataclass of floats, as one of arrays (1,) at fixed addresses."""
        values = tuple(map(float, astuple(numbers)))
        if "numbers" not in cache:
            held = self._device.empty((len(values),), np.float64)
            views = type(numbers)(*(held[k : k + 1] for k in range(len(values))))
            cache["numbers"] = held, views
        held, views = cache["numbers"]
        self._device.kernels.set_numbers(held, values)
        return views

    def count(self, total: Any, number: Any, n: int) -> None:
        """Add (number, n) to `total` (2,), an array of the processor, at the end of the session."""
        if id(total) not in self._counts:
            self._counts[id(total)] = total, self._device.zeros((2,), np.float64)
        sums = self._counts[id(total)][1]
        sums[0] += number
        sums[1] += n

    def fetch_counts(self) -> None:
        """Add the counts of this session to their totals."""
        for total, sums in self._counts.values():
            total += self._library.host(sums)

    def forget_counts(self) -> None:
        """Empty the counts, at the end of a session."""
        self._counts.clear()

    def scalar(self, value: float) -> Any:
        """Return an array (1,) with `value`, which a graph can read and write."""
        return self._device.array(np.full(1, value, np.float64), np.float64)

    def passes(self, first: bool) -> int:
        """Return 2 for the first batch, whose first pass measures the gain ratios, else 1.

        A later batch whose updates miss their size corrects the gain ratios for the next one.
        """
        return 2 if first else 1

    def settled(self, status: None) -> bool:
        """Return False: the number of passes is fixed."""
        return False

    def is_positive(self, number: Any) -> bool:
        """Return True without a wait for the GPU: a step of length 0 does no harm."""
        return True

    def renew_metric(self, metric: Any, M: Any | None) -> bool:
        """Compute Q, directions and level from the eigenvectors of ``A^T A``, A being the sketch.

        See `renew`. The smallest singular values of A lose digits, but their directions have no
        weight. The host is not asked, so a renewal can be part of a batch's graph.
        """
        device, library, (d, r) = self._device, self._library, metric.Q.shape
        work = device.work.of(MetricWork)
        sketch, new = (buffer.array((d, r), np.float64) for buffer in (work.sketch, work.new))
        squares, vectors = (b.array((r, r), np.float64) for b in (work.squares, work.vectors))
        coefficients, scale, kept = work.values.array((3, max(r, 1)), np.float64)
        shrinkage = work.shrinkage.array((1,), np.float64)
        sketch[...] = metric.sketch
        if r:
            library.gemm(squares, sketch, sketch, transpose_A=True)
            rotations = work.rotations.array((2, r), np.float64)
            kernels.eigenvectors_in_a_block(squares, vectors, rotations)
        kernels.ritz_values(
            coefficients[:r],
            scale[:r],
            kept[:r],
            shrinkage,
            metric.level,
            squares,
            vectors,
            metric.trace_sum,
            metric.batches,
            d,
            metric.damping,
            metric.ceiling,
            metric.power,
            metric.remembered,
            self._failures,
        )
        if r:
            library.gemm(new, sketch, vectors)
            kernels.turn_directions(
                metric.Q,
                metric.directions,
                metric.sketch,
                new,
                metric.first,
                scale[:r],
                coefficients[:r],
                kept[:r],
            )
        if M is not None:
            device.scaled(M, M, shrinkage)
        return True
