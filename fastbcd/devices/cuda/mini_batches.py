"""What the CUDA device does for mini-batches: their samples, numbers, graphs, sizes and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, replace
from typing import Any

import numpy as np

from fastbcd.devices.cuda.graphs import Graphs
from fastbcd.devices.cuda.plan import Plan, PlannedRows


class MiniBatches:
    """The part of `fastbcd.devices.cuda.device.CUDA` that mini-batches ask for."""

    library: Any
    kernels: Any
    scratch: Any
    _group: Any
    _counts: dict[int, tuple[Any, Any]]
    array: Callable[[Any, Any], Any]
    numpy: Callable[[Any], Any]
    empty: Callable[[tuple[int, ...], Any], Any]
    zeros: Callable[[tuple[int, ...], Any], Any]
    layer: Callable[[Any], Any]

    weight_rows = 2**31
    """Rows of W in one update: all."""
    graphs = True
    """Whether batches that are alike are launched as CUDA graphs; ranks that share samples do
    without."""

    def resident(self, data: Any) -> Any:
        """Samples on the GPU, in their own type; memory-mapped files stay where they are."""
        if isinstance(data, np.memmap):
            return data
        kind = data.dtype if data.dtype.kind in "fiub" and data.dtype.itemsize > 2 else None
        return self.array(data, kind or np.promote_types(data.dtype, np.uint8))

    def rows_of(self, data: Any, index: Any) -> Any:
        """Some rows of samples, as a NumPy array."""
        if isinstance(data, np.ndarray):
            return data[index]
        return self.numpy(data[self.array(index, np.int64)])

    def planned(
        self, cache: dict[Any, Any], batches: Sequence[Any], numbers: Sequence[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Samples and numbers of each batch of a pass, as `run_batch` takes them.

        Where the samples lie on the GPU, the whole pass is laid out there; memory-mapped ones are
        read a batch at a time, and ranks that share samples send each other messages.
        """
        first = batches[0]
        if isinstance(first.X, np.memmap) or isinstance(first.Y, np.memmap) or self._group:
            for samples, of_batch in zip(batches, numbers, strict=True):
                yield samples.on(self, self.array(samples.index, np.int64)), of_batch
            return
        weighted = first.weight is not None
        shape = sum(map(len, batches)), len(batches), weighted
        plan = cache.get("plan")
        if plan is None or plan.shape != shape:
            plan = cache["plan"] = Plan(self, shape[0], shape[1], numbers[0], weighted)
        plan.lay_out(self, batches, numbers)
        for samples, of_batch in zip(batches, numbers, strict=True):
            yield replace(samples, index=PlannedRows(plan, len(samples))), of_batch

    def take(self, out: Any, data: Any, rows: Any) -> Any:
        """``out = data[rows]``; returns them in whichever type is at hand."""
        if isinstance(data, np.memmap):
            part = np.asarray(data[rows if isinstance(rows, slice) else self.numpy(rows)])
            out[...] = self.array(part, part.dtype)
        elif isinstance(rows, slice):
            part = data[rows]
            out[...] = self.array(part, part.dtype)
        else:
            self.kernels.gather(out, data, rows)
        return out

    def scaled(self, out: Any, A: Any, factor: Any) -> None:
        """``out = factor A``, factor a number or an element on the GPU."""
        on_gpu = hasattr(factor, "shape") and hasattr(factor, "astype")
        factor = factor.astype(A.dtype).reshape(1) if on_gpu else A.dtype.type(factor)
        self.kernels.scaled(out, A, factor)

    def run_batch(
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

        if kind is None or not self.graphs or self._group is not None:
            body()
            return
        if "graphs" not in cache:
            cache["graphs"] = Graphs(self.library, self.scratch)
        cache["graphs"].run((kind, isinstance(rows, PlannedRows)), parts, arrays, body)

    def _fetched(self, samples: Any, batch: Any) -> Any:
        """Samples of a `batch`, read into its arrays, which are the same for all batches."""
        m = len(batch)
        samples.read(self, slice(0, m), batch.V[0], batch.Y)
        if samples.weight is not None:
            batch.weight[...] = samples.weight
            samples = replace(samples, weight=batch.weight)
        return replace(samples, is_read=True)

    def _set(self, cache: dict[Any, Any], numbers: Any) -> Any:
        """The fields of `numbers`, a dataclass of floats, as arrays (1,) that stay in place."""
        values = tuple(map(float, astuple(numbers)))
        if "numbers" not in cache:
            held = self.empty((len(values),), np.float64)
            views = type(numbers)(*(held[k : k + 1] for k in range(len(values))))
            cache["numbers"] = held, views
        held, views = cache["numbers"]
        self.kernels.set_numbers(held, values)
        return views

    def count(self, total: Any, number: Any, n: int) -> None:
        """Add (number, n) to `total` (2,), an array of the processor, when the session ends."""
        if id(total) not in self._counts:
            self._counts[id(total)] = total, self.zeros((2,), np.float64)
        sums = self._counts[id(total)][1]
        sums[0] += number
        sums[1] += n

    def outputs(self, network: Any, X: Any, dtype: Any) -> Any:
        """Outputs of `network`, a `fastbcd.models.network.Network`, for samples X, on the GPU."""
        V = self.array(X, dtype)
        pieces = zip(network.W, network.activations, network.residual, strict=True)
        for W, activation, skips in pieces:
            layer = self.layer(self.array(W, dtype))
            out = self.empty((len(V), len(layer.bias)), dtype)
            self.kernels.affine(out, V, layer.W, layer.bias)
            self.kernels.activate(out, activation, out, V if skips else None)
            V = out
        return V

    def rms_scaling(self, *arguments: Any) -> Any:
        """Sizes of a mini-batch's displacements; arguments as on the CPU."""
        from fastbcd.devices.cuda.rms_scaling import RMSScaling

        return RMSScaling(self, *arguments)

    def gram_metric(self, *arguments: Any, **options: Any) -> Any:
        """The metric of a mini-batch W-block; arguments as on the CPU."""
        from fastbcd.devices.cuda.gram_metric import GramMetric

        return GramMetric(self, *arguments, **options)
