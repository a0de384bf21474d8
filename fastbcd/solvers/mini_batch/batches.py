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
    """X (n, d_0) and Y (n, d_L) as arrays, checked; `InputError` for what does not fit.

    What is memory-mapped is not read here but in `take`, a batch at a time; all else in `blocks`.
    With `may_be_empty` there need be no sample: other ranks have them.
    """
    if isinstance(X, np.memmap):
        # One sample stands for all as far as shape and type go.
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
    """Weights of n samples in units of their mean; None where all are equal: nothing to do."""
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
    """How many batches a pass has."""
    return -(-n // batch_size)


def shuffled_batches(
    n: int, batch_size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Rows of each batch of one pass, ascending: each sample once, sizes equal to within one."""
    for rows in np.array_split(rng.permutation(n), n_batches(n, batch_size)):
        rows.sort()  # a file is read forwards
        yield rows


def rows_here(rows: NDArray[np.intp], first: int, n: int) -> NDArray[np.intp]:
    """Which of `rows`, ascending, are among the n samples from `first` on, counted from there."""
    start, stop = np.searchsorted(rows, (first, first + n))
    return rows[start:stop] - first


@dataclass(frozen=True)
class Samples:
    """Some rows of X and Y, read a tile at a time: `index` (m,), or None for all.

    What is memory-mapped is checked here; targets by what `loss` asks of them. `weight` (m,)
    float64 belongs to these rows, in units of `level`, its root mean square; None for 1 each.
    `total` are the samples of the batch on all ranks; None: these. With `is_read` they are
    where they are wanted already.
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
        """Rows `index` of X, Y and weight (n,), float64 or None."""
        if weight is None:
            return cls(X, Y, loss, index)
        part = weight if index is None else weight[index]
        largest = float(part.max())
        if largest == 0.0:
            return cls(X, Y, loss, index, part, 0.0)
        part = part / largest  # squares of large ones might overflow, and of small ones vanish
        unit = float(np.sqrt(np.mean(part * part)))
        return cls(X, Y, loss, index, part / unit, largest * unit)

    def __len__(self) -> int:
        return len(self.X if self.index is None else self.index)

    def on(self, device: Any, index: Any = None) -> Samples:
        """The same where `device` reads them; `index` is its copy of theirs, if it has one."""
        weight = None if self.weight is None else device.array(self.weight, np.float64)
        return replace(self, index=self.index if index is None else index, weight=weight)

    def read(self, device: Any, rows: slice, V: Any, Y: Any) -> None:
        """Rows `rows` of these into V (m, d + 1), but its last column, and Y (m, k)."""
        if self.is_read:
            return
        part = rows if self.index is None else self.index[rows]
        take(device, V[:, :-1], self.X, part, "X")
        targets = take(device, Y, self.Y, part, "Y")
        if isinstance(self.Y, np.memmap):
            check_loss_targets(targets, self.loss)


def take(device: Any, out: Any, data: Any, rows: Any, name: str) -> Any:
    """Some rows of `data` into `out`; returns them, in whichever type is at hand.

    `InputError` for NaN or infinity in a memory-mapped file.
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
