"""Checks of arrays that users give."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbcd.data.label_values import is_missing
from fastbcd.data.sparse import is_sparse
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.errors import InputError
from fastbcd.kernels import TARGETS, Loss

NOTHING_LEFT = "{} is zero for every sample: nothing is left to learn from"

Blocks = Callable[[Any], Iterable[slice]]
"""Returns slices of rows of an array, for a pass over it in pieces."""


def all_rows(array: Any) -> Iterable[slice]:
    """Return all rows of `array` as one slice."""
    return [slice(0, len(array))]


def check_matrix(
    data: ArrayLike, name: str, may_be_empty: bool = False, blocks: Blocks = all_rows
) -> NDArray[Any]:
    """Return `data` as a finite, numeric array of samples by features, at least one of each.

    With `may_be_empty` there may be no sample, because other ranks have some. The numbers are
    checked in `blocks` of rows.
    """
    numeric = as_numbers(data, name)
    if numeric.ndim != 2:
        raise InputError(f"{name} must be 2-d, samples by features, got {numeric.ndim}-d")
    if 0 in (numeric.shape[1:] if may_be_empty else numeric.shape):
        raise InputError(f"{name} must have at least one sample and feature, got {numeric.shape}")
    for rows in blocks(numeric) if numeric.dtype.kind == "f" else ():
        check_finite(numeric[rows], name, rows.start)
    return numeric


def as_numbers(data: ArrayLike, name: str) -> NDArray[Any]:
    """Return `data` as a numeric array; objects and texts become float64."""
    if is_sparse(data):
        raise InputError(
            f"{name} is sparse, which only inputs of mini-batches and predictions may be: give "
            f"{name}.toarray()"
        )
    try:
        # An array on the GPU stays there; the device has checked that it is its own.
        on_gpu = hasattr(data, "__cuda_array_interface__")
        if isinstance(data, np.ma.MaskedArray) and np.ma.getmaskarray(data).any():
            raise InputError(f"{name} has masked numbers, which are missing: fill them in")
        array: Any = data if on_gpu else np.asarray(data)
        if array.dtype.kind not in "fiubOUS":
            raise TypeError
        return array if array.dtype.kind in "fiub" else _from_objects(array, name)
    except InputError:
        raise
    except (TypeError, ValueError):
        raise InputError(f"{name} must hold numbers only") from None


def _from_objects(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Convert objects or texts to float64; an `InputError` names the first missing value."""
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        check_present(array, name)
        raise


def check_present(data: Any, name: str) -> None:
    """Raise an `InputError` for the first None, NaN, NaT or pandas' NA in an array of objects."""
    array = np.asarray(data)
    for place, value in np.ndenumerate(array) if array.dtype.kind == "O" else ():
        if is_missing(value):
            where = ", ".join(
                f"{axis} {k}" for axis, k in zip(("row", "column"), place, strict=False)
            )
            raise InputError(f"{name} must be finite, but {where} is {value}, a missing value")


def check_finite(array: NDArray[Any], name: str, row: int = 0, column: int = 0) -> None:
    """Raise an `InputError` for NaN or infinity in `array`, the part of `name` at (row, column)."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        i, j = np.argwhere(~np.isfinite(array))[0]
        raise InputError(
            f"{name} must be finite, but row {row + i}, column {column + j} is {array[i, j]}"
        )


def check_inputs(
    X: ArrayLike, width: int, may_be_empty: bool = False, blocks: Blocks = all_rows
) -> NDArray[Any]:
    """Return X as (n, width); see `check_matrix`."""
    return _check_width(check_matrix(X, "X", may_be_empty, blocks), width)


def check_sparse_or_dense(
    X: Any, width: int, may_be_empty: bool = False, blocks: Blocks = all_rows
) -> Any:
    """Return X as (n, width), or as they are `SparseRows`, whose numbers have been checked."""
    if isinstance(X, SparseRows):
        return _check_width(X, width)
    return check_inputs(X, width, may_be_empty, blocks)


def _check_width(X: Any, width: int) -> Any:
    """Return X (n, d); `InputError` unless d is `width`."""
    if X.shape[1] != width:
        raise InputError(f"X has {X.shape[1]} features, but the network's first width is {width}")
    return X


def check_targets(
    Y: ArrayLike,
    n: int,
    width: int,
    may_be_empty: bool = False,
    blocks: Blocks = all_rows,
) -> NDArray[Any]:
    """Return Y as (n, width); see `check_matrix`."""
    if np.ndim(Y) == 1:
        hint = "one-hot rows for classes (fastbcd.one_hot), a column for one number a sample"
        raise InputError(f"Y must be 2-d, samples by outputs: {hint}")
    Y = check_matrix(Y, "Y", may_be_empty, blocks)
    if len(Y) != n:
        raise InputError(f"Y has {len(Y)} samples, but X has {n}")
    if Y.shape[1] != width:
        raise InputError(f"Y has {Y.shape[1]} outputs, but the network's last width is {width}")
    return Y


def check_sample_weight(sample_weight: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return sample weights (n,), finite and not negative, as float64; one number is for all."""
    try:
        given: Any = np.asarray(sample_weight)
        if given.dtype.kind not in "fiubOUS":
            raise TypeError
        weight = given.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("sample_weight must hold numbers only") from None
    if weight.shape == ():
        weight = np.full(n, weight)
    if weight.shape != (n,):
        raise InputError(
            f"sample_weight must be one number for each of {n} samples, got shape {weight.shape}"
        )
    if not (np.isfinite(weight) & (weight >= 0.0)).all():
        row = int(np.argmin(np.isfinite(weight) & (weight >= 0.0)))
        raise InputError(
            f"sample_weight must be finite and not negative, but number {row} is {weight[row]}"
        )
    return weight


def check_some_weight(weight: NDArray[np.float64], name: str = "sample_weight") -> None:
    """Raise an `InputError` if all weights (n,) are zero."""
    if not weight.any():
        raise InputError(NOTHING_LEFT.format(name))


def check_loss_targets(Y: NDArray[Any], loss: Loss, blocks: Blocks = all_rows) -> None:
    """Raise an `InputError` if `loss` does not take targets such as Y."""
    k = Y.shape[1]
    if loss.targets == "two classes" and k > 2:
        raise InputError(
            f"loss: {loss.name} is for two classes, but Y has {k} outputs; use cross_entropy, or "
            "logistic_ovr for one class against the rest"
        )
    if not all(targets_fit(Y[rows], loss) for rows in blocks(Y)):
        raise InputError(f"loss: {loss.name} needs targets that are {TARGETS[loss.targets]}")


def targets_fit(Y: NDArray[Any], loss: Loss) -> bool:
    """Whether targets are of the kind that `loss` takes."""
    if loss.targets in ("binary", "two classes"):
        return bool(((Y == 0) | (Y == 1)).all())
    if loss.targets == "not negative":
        return bool((Y >= 0).all())
    if loss.targets == "positive":
        return bool((Y > 0).all())
    if loss.targets == "distribution":
        return bool((Y >= 0).all() and (abs(Y.sum(axis=1) - 1) <= 2e-5).all())
    return True
