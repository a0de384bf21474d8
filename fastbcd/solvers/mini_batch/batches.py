"""Samples in batches: shuffled, taken from memory or from a memory-mapped file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbcd.data.validation import (
    Blocks,
    all_rows,
    check_inputs,
    check_loss_targets,
    check_sample_weight,
    check_some_weight,
    check_targets,
)
from fastbcd.errors import InputError
from fastbcd.kernels import Loss


def check_samples(
    X: ArrayLike,
    Y: ArrayLike,
    widths: tuple[int, ...],
    loss: Loss,
    blocks: Blocks = all_rows,
    may_be_empty: bool = False,
) -> tuple[Any, Any]:
    """Return X (n, d_0) and Y (n, d_L) as arrays; `InputError` if they do not fit `widths`, `loss`.

    Memory-mapped arrays are checked later by `take`, batch by batch; other arrays are checked in
    `blocks`. With `may_be_empty` there may be no sample here, because other ranks have some.
    """
    if isinstance(X, np.memmap):
        # The first sample shows shape and type; values are checked when they are read.
        check_inputs(X[:1], widths[0], may_be_empty)
        inputs: Any = X
    else:
        inputs = check_inputs(X, widths[0], may_be_empty, blocks)
    if isinstance(Y, np.memmap):
        if len(Y) != len(inputs):
            raise InputError(f"Y has {len(Y)} samples, but X has {len(inputs)}")
        first = check_targets(Y[:1], min(1, len(Y)), widths[-1], may_be_empty)
        check_loss_targets(first, loss)
        return inputs, Y
    targets = check_targets(Y, len(inputs), widths[-1], may_be_empty, blocks)
    check_loss_targets(targets, loss, blocks)
    return inputs, targets


def mean_one(sample_weight: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
    """Return the weights of n samples divided by their mean; None if all are equal."""
    if sample_weight is None:
        return None
    weight = check_sample_weight(sample_weight, n)
    check_some_weight(weight)
    largest = float(weight.max())
    if float(weight.min()) == largest:
        return None
    weight = weight / largest  # the sum of large ones might overflow
    return weight / weight.mean()


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
    root mean square `level`; None is 1 each. `total` is the number of samples of the batch on all
    ranks; None if these are all. With `is_read` the samples are in the arrays of the batch already.
    """

    X: Any
    Y: Any
    loss: Loss
    index: NDArray[np.intp] | None = None
    weight: NDArray[np.float64] | None = None
    level: float = 1.0
    total: int | None = None
    is_read: bool = False

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

    def on(self, device: Any, index: Any = None) -> Samples:
        """Return these samples for `device`; `index` is its copy of their index, if it has one."""
        weight = None if self.weight is None else device.array(self.weight, np.float64)
        return replace(self, index=self.index if index is None else index, weight=weight)

    def read(self, device: Any, rows: slice, V: Any, Y: Any) -> None:
        """Read `rows` of these samples into Y (m, k) and V (m, d + 1) without its last column."""
        if self.is_read:
            return
        part = rows if self.index is None else self.index[rows]
        take(device, V[:, :-1], self.X, part, "X")
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
