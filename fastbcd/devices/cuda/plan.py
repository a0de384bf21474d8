"""The batches of one pass, laid out on the GPU in advance: a batch needs nothing from the host.

A graph reads at fixed addresses. So the order of the samples of a pass, their weights and the
numbers of each batch lie in arrays that stay, beside a cursor that says which batch is next:
`Plan.fetch` reads the batch that the cursor points at, and `Plan.advance` moves the cursor on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from fastbcd.kernels import cuda as kernels


@dataclass(frozen=True)
class PlannedRows:
    """The rows of one batch, known to `plan`."""

    plan: Plan
    count: int

    def __len__(self) -> int:
        return self.count


class Plan:
    """The order of n samples, and the numbers of `n_batches` batches.

    Parameters
    ----------
    device : CUDA
    n, n_batches : int
    numbers : dataclass of floats
        What a batch has; any one, for its fields.
    weighted : bool
        Whether samples have weights.
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
        """The fields of the batch that was fetched last, as arrays (1,) of the GPU."""

    def arrays(self) -> list[Any]:
        """All that lies at a fixed address."""
        arrays = [self._order, self._table, self._cursor, self._held]
        return arrays if self._weights is None else [*arrays, self._weights]

    def lay_out(self, device: Any, batches: Sequence[Any], numbers: Sequence[Any]) -> None:
        """Begin a pass with its `batches` (`Samples`), whose rows and weights are laid out."""
        self._order[...] = device.array(np.concatenate([b.index for b in batches]), np.int64)
        if self._weights is not None:
            weights = np.concatenate([b.weight for b in batches])
            self._weights[...] = device.array(weights, np.float64)
        self._table[...] = device.array([astuple(of_batch) for of_batch in numbers], np.float64)
        self._cursor[...] = 0

    def fetch(self, batch: Any, X: Any, Y: Any) -> None:
        """Samples, weights and numbers of the next batch, into `batch` and `numbers`."""
        kernels.fetch(
            *(batch.V[0], X, batch.Y, Y, batch.weight, self._order, self._weights),
            *(self._held, self._table, self._cursor),
        )

    def advance(self, rows: int) -> None:
        """The batch of so many `rows` is done."""
        kernels.advance(self._cursor, rows)
