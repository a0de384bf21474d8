"""Samples in batches: shuffled, taken from memory or from a memory-mapped file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.augmentation import Moves
from fastbcd.data.validation import check_loss_targets
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.errors import InputError
from fastbcd.kernels import Loss


def n_batches(n: int, batch_size: int) -> int:
    """Return the number of batches in a pass."""
    return -(-n // batch_size)


def shuffled_batches(
    n: int, batch_size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Yield the rows of each batch of one pass: every sample once, sizes equal to within one."""
    for rows in np.array_split(rng.permutation(n), n_batches(n, batch_size)):
        rows.sort()  # so that a file is read forwards
        yield rows


def rows_here(rows: NDArray[np.intp], first: int, n: int) -> NDArray[np.intp]:
    """Return those of the ascending `rows` in ``first:first + n``, less `first`."""
    start, stop = np.searchsorted(rows, (first, first + n))
    return rows[start:stop] - first


@dataclass(frozen=True)
class Samples:
    """Some rows of X and Y, read a tile at a time.

    `index` (m,) has the rows; None takes all. Memory-mapped data are checked when they are read,
    targets for the `loss`. `weight` (m,) float64 are the weights of these rows divided by their
    root mean square `weight_unit`; None is 1 each. `total` is the number of samples of the batch
    on all ranks; None if these are all. With `is_read` the samples are in the arrays of the batch
    already. `before` is the number of samples of the batch on the ranks before this one.
    `moves`, if there are any, shift and mirror the images that are read. `noise_seed`, if there
    is one, is the seed of the batch's random numbers.
    """

    X: Any
    Y: Any
    loss: Loss
    index: NDArray[np.intp] | None = None
    weight: NDArray[np.float64] | None = None
    weight_unit: float = 1.0
    total: int | None = None
    is_read: bool = False
    before: int = 0
    moves: Moves | None = None
    noise_seed: int | None = None

    @classmethod
    def of(
        cls,
        X: Any,
        Y: Any,
        loss: Loss,
        index: NDArray[np.intp] | None = None,
        weight: NDArray[np.float64] | None = None,
    ) -> Samples:
        """Return rows `index` of X, Y and weight, which is (n,) float64 or None."""
        if weight is None:
            return cls(X, Y, loss, index)
        part = weight if index is None else weight[index]
        largest = float(part.max())
        if largest == 0.0:
            return cls(X, Y, loss, index, part, 0.0)
        part = part / largest  # squares might overflow or vanish
        unit = float(np.sqrt(np.mean(part * part)))
        return cls(X, Y, loss, index, part / unit, largest * unit)

    def __len__(self) -> int:
        return len(self.X if self.index is None else self.index)

    @property
    def own(self) -> slice:
        """The place of these samples in the batch of all ranks."""
        return slice(self.before, self.before + len(self))

    @property
    def of_all_ranks(self) -> int:
        """The number of samples of the batch on all ranks."""
        return len(self) if self.total is None else self.total

    @property
    def inputs_in_place(self) -> Any:
        """The inputs, if they stand for ``V^_0`` where they are; None if they are to be read."""
        if not isinstance(self.X, SparseRows):
            return None
        return self.X if self.index is None else self.X[self.index]

    def on(self, device: Any, index: Any = None) -> Samples:
        """Return these samples for `device`; `index` is its copy of their index, if it has one."""
        weight = None if self.weight is None else device.array(self.weight, np.float64)
        return replace(self, index=self.index if index is None else index, weight=weight)

    def read(self, device: Any, rows: slice, V: Any, Y: Any) -> None:
        """Read `rows` of these samples into Y (m, k) and V (m, d + 1) without its last column.

        Inputs that are in place stay there.
        """
        if self.is_read:
            return
        part = rows if self.index is None else self.index[rows]
        if not isinstance(V, SparseRows):
            take(device, V[:, :-1], self.X, part, "X")
        if self.moves is not None:
            self.moves.apply(device, V[:, :-1], rows)
        targets = take(device, Y, self.Y, part, "Y")
        if isinstance(self.Y, np.memmap):
            check_loss_targets(targets, self.loss)


def take(device: Any, out: Any, data: Any, rows: Any, name: str) -> Any:
    """``out = data[rows]``; returns the rows, of the dtype of `data` or of `out`.

    `InputError`, which calls the data `name`, for NaN or infinity in a memory-mapped file.
    """
    if not isinstance(data, np.memmap):
        return device.batches.take(out, data, rows)
    rows = rows if isinstance(rows, slice) else device.numpy(rows)
    part = np.asarray(data[rows])
    if part.dtype.kind == "f" and not np.isfinite(part).all():
        row, column = np.argwhere(~np.isfinite(part))[0]
        number = np.arange(len(data))[rows][row]
        raise InputError(
            f"{name} must be finite, but row {number}, column {column} is {part[row, column]}"
        )
    out[:] = device.array(part, part.dtype)
    return part
