"""Mini-batches on the processor: each tile reads its samples; no launches are recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastbcd import kernels
from fastbcd.devices.rounded_products import RoundedProducts
from fastbcd.kernels.dense import qr, svd, times
from fastbcd.kernels.rms_scaling import NOT_FINITE, SETTLED

Array = NDArray[Any]
T = TypeVar("T")
# Most passes over a batch whose updates miss their size.
PASSES = 4
# Types of elements that `gather` is compiled for; half precision is not among them.
COMPILED = frozenset(np.dtype(code) for code in "?bBhHiIlLqQfd")


class CPUBatches:
    """`fastbcd.devices.protocol.Batches` on the processor; `rounds` factors to bfloat16."""

    def __init__(self, rounds: bool = False) -> None:
        self.kernels: Any = RoundedProducts() if rounds else kernels
        """The kernels that multiply states and weights of a batch."""

    weight_rows = 256
    """The largest number of rows of W that a thread updates at a time."""

    def resident(self, data: Any) -> Any:
        """Return samples as they are, memory-mapped files included."""
        return data

    def rows_of(self, data: Any, index: Array) -> Array:
        """Return some rows of samples as a NumPy array."""
        return data[index]

    def take(self, out: Array, data: Any, rows: Array | slice) -> Array:
        """``out = data[rows]``; returns `out`."""
        if isinstance(rows, slice) or data.dtype not in COMPILED:
            out[:] = data[rows]
        else:
            kernels.gather(out, data, rows)  # without the interpreter lock and without a copy
        return out

    def planned(
        self, cache: dict[Any, Any], batches: Sequence[Any], scalars: Sequence[T]
    ) -> Iterable[tuple[Any, T]]:
        """Yield samples and step scalars of each batch as they are."""
        return zip(batches, scalars, strict=True)

    def run(
        self,
        cache: dict[Any, Any],
        batch: Any,
        samples: Any,
        scalars: Any,
        kind: Any,
        parts: frozenset[str],
        arrays: Any,
        sweep: Callable[[Any, Any], None],
    ) -> None:
        """Call ``sweep(samples, scalars)``."""
        sweep(samples, scalars)

    def count(self, total: Array, number: float, n: int) -> None:
        """Add (number, n) to `total` (2,)."""
        total += number, n

    def scalar(self, value: float) -> Any:
        """Return `value`, because a number of Python can change."""
        return value

    def passes(self, first: bool) -> int:
        """Return the largest number of passes over a batch."""
        return PASSES

    def settled(self, status: int) -> bool:
        """Return whether `status`, from `settle_sizes`, asks for no other pass."""
        if status == NOT_FINITE:
            raise FloatingPointError("states are not finite any more")
        return status == SETTLED

    def is_positive(self, number: float) -> bool:
        """Return ``number > 0``."""
        return bool(number > 0.0)

    def renew_metric(self, metric: Any, M: Array | None) -> bool:
        """Compute Q, directions and level from the singular values of the sketch; see `renew`."""
        before, d = metric.level, len(metric.Q)
        trace = float(metric.trace_sum) / metric.batches
        sketch = metric.sketch.astype(np.float64) / metric.batches
        kept = min(metric.remembered, metric.batches)
        metric.sketch[:] = 0.0
        metric.batches, metric.trace_sum = 0, 0.0
        if not (np.isfinite(sketch).all() and np.isfinite(trace)):
            return False
        Q, R = qr(sketch)
        # |G q| of an orthonormal q is the eigenvalue if q is an eigenvector, else between them.
        left, e, _ = svd(R)
        rest = max(trace - float(e.sum()), 0.0) / max(d - metric.rank, 1)
        level = rest + metric.damping * trace / d
        if 0 < metric.rank < d:
            level = max(level, float(e[-1]) / metric.ceiling)
        above = np.maximum(e - rest, 0.0)
        Q = times(Q, left)
        metric.level, metric.Q[:] = level, Q
        share = np.divide(above, level + above, out=np.zeros_like(above), where=above > 0.0)
        if metric.power != 1.0:
            share = 1.0 - (1.0 - share) ** metric.power
        metric.directions[:] = (Q * share).T
        if kept:
            metric.sketch[:] = Q * (kept * e)
            metric.batches, metric.trace_sum = kept, kept * trace
        if M is not None and level < 0.1 * before:
            M *= metric.Q.dtype.type(level / before)
        return True
