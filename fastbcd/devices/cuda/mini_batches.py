"""What the CUDA device does for mini-batches: their samples, numbers, graphs, sizes and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, replace
from typing import Any

import numpy as np

from fastbcd.devices.cuda.graphs import Graphs


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

    def batches(self, rows: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Rows of each batch of a pass, for the processor and, in one transfer, for this device."""
        batches = list(rows)
        everything, start = self.array(np.concatenate(batches), np.int64), 0
        for batch in batches:
            yield batch, everything[start : start + len(batch)]
            start += len(batch)

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

    def fetched(self, samples: Any, batch: Any) -> Any:
        """Samples of a `batch`, read into its arrays, which are the same for all batches."""
        m = len(batch)
        samples.read(self, slice(0, m), batch.V[0], batch.Y)
        if samples.weight is not None:
            batch.weight[...] = samples.weight
            samples = replace(samples, weight=batch.weight)
        return replace(samples, is_read=True)

    def numbers(self, cache: dict[Any, Any], numbers: Any) -> Any:
        """The fields of `numbers`, a dataclass of floats, as arrays (1,) of the GPU.

        They are in the same place for all batches of one `cache`, of whom `repeated` ones read
        them there.
        """
        values = tuple(map(float, astuple(numbers)))
        if "numbers" not in cache:
            held = self.empty((len(values),), np.float64)
            views = type(numbers)(*(held[k : k + 1] for k in range(len(values))))
            cache["numbers"] = held, views
        held, views = cache["numbers"]
        self.kernels.set_numbers(held, values)
        return views

    def repeated(
        self, cache: dict[Any, Any], kind: Any, arrays: Any, body: Callable[[], None]
    ) -> None:
        """``body()``, or, from the third time on, the launches that it made, as one CUDA graph.

        Parameters
        ----------
        cache : dict
            Where graphs are kept.
        kind : hashable
            All that the body depends on, beside contents of arrays: two bodies of one kind and
            with the same arrays launch the same work.
        arrays : nested lists and tuples
            What it works on, that its caller may have replaced since the last time.
        body : callable
            Launches work and leaves no array behind that it made. It must not ask the GPU.
        """
        if not self.graphs or self._group is not None:
            body()
            return
        if "graphs" not in cache:
            cache["graphs"] = Graphs(self.library, self.scratch)
        cache["graphs"].run(kind, arrays, body)

    def count(self, total: Any, number: Any, n: int) -> None:
        """Add (number, n) to `total` (2,), an array of the processor, when the session ends."""
        if id(total) not in self._counts:
            self._counts[id(total)] = total, self.zeros((2,), np.float64)
        sums = self._counts[id(total)][1]
        sums[0] += number
        sums[1] += n

    def outputs(self, network: Any, X: Any, dtype: Any) -> Any:
        """Outputs of `network`, a `fastbcd.network.Network`, for samples X, on the GPU."""
        V = self.array(X, dtype)
        pieces = zip(network.W, network.activations, network.residual, strict=True)
        for W, activation, skips in pieces:
            layer = self.layer(self.array(W, dtype))
            out = self.empty((len(V), len(layer.bias)), dtype)
            self.kernels.affine(out, V, layer.W, layer.bias)
            self.kernels.activate(out, activation, out, V if skips else None)
            V = out
        return V

    def batch_sizes(self, *arguments: Any) -> Any:
        """Sizes of a mini-batch's displacements; arguments as on the CPU."""
        from fastbcd.devices.cuda.batch_sizes import BatchSizes

        return BatchSizes(self, *arguments)

    def gram_metric(self, *arguments: Any, **options: Any) -> Any:
        """The metric of a mini-batch W-block; arguments as on the CPU."""
        from fastbcd.devices.cuda.gram_metric import GramMetric

        return GramMetric(self, *arguments, **options)
