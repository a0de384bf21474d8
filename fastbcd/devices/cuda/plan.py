"""The batches of one pass, laid out on the GPU in advance, so that a batch needs no host.

A graph reads at fixed addresses. So the order of the samples of a pass, their weights and the
numbers of each batch lie in arrays that stay. A cursor points at the next batch: `Plan.fetch` reads
this batch, and `Plan.advance` moves the cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from fastbcd.kernels import cuda as kernels


@dataclass(frozen=True)
class PlannedRows:
    """The rows of one batch, which `plan` has."""

    plan: Plan
    count: int

    def __len__(self) -> int:
        return self.count


class Plan:
    """The order of n samples, and the step scalars ("numbers") of `n_batches` batches.

    Parameters
    ----------
    device : CUDA
    n, n_batches : int
    numbers : dataclass of floats
        The numbers of any batch, for their fields.
    weighted : bool
        Samples have weights.
    """

    def __init__(
        self, device: Any, n: int, n_batches: int, numbers: Any, weighted: bool = False
    ) -> None:
        width = len(astuple(numbers))
        self._order = device.empty((n,), np.int64)
        self._weights = device.empty((n,), np.float64) if weighted else None
        self._table = device.empty((n_batches, width), np.float64)
        self._cursor = device.zeros((2,), np.int64)
        self._held = device.empty((width,), np.float64)
        self.shape = n, n_batches, weighted
        self.numbers = type(numbers)(*(self._held[k : k + 1] for k in range(width)))
        """The numbers of the batch that was fetched last; the fields are arrays (1,) of the GPU."""

    def arrays(self) -> list[Any]:
        """Return all arrays at fixed addresses."""
        arrays = [self._order, self._table, self._cursor, self._held]
        return arrays if self._weights is None else [*arrays, self._weights]

    def lay_out(self, device: Any, batches: Sequence[Any], numbers: Sequence[Any]) -> None:
        """Begin a pass: lay out rows and weights of its `batches` (`Samples`), and `numbers`."""
        self._order[...] = device.array(np.concatenate([b.index for b in batches]), np.int64)
        if self._weights is not None:
            weights = np.concatenate([b.weight for b in batches])
            self._weights[...] = device.array(weights, np.float64)
        self._table[...] = device.array([astuple(of_batch) for of_batch in numbers], np.float64)
        self._cursor[...] = 0

    def fetch(self, batch: Any, X: Any, Y: Any) -> None:
        """Read samples and weights of the next batch into `batch`, and its numbers."""
        kernels.fetch(
            batch.V[0],
            X,
            batch.Y,
            Y,
            batch.weight,
            self._order,
            self._weights,
            self._held,
            self._table,
            self._cursor,
        )

    def advance(self, rows: int) -> None:
        """Move the cursor behind a batch of so many `rows`."""
        kernels.advance(self._cursor, rows)
