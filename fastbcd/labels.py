"""Class labels: the sorted classes, their indices, and one-hot targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbcd.errors import InputError


def one_hot(labels: ArrayLike, n_classes: int | None = None) -> NDArray[np.float32]:
    """``Y[i, labels[i]] = 1``, zero elsewhere: (n, n_classes), float32.

    Parameters
    ----------
    labels : (n,) array of int
        From 0 to n_classes - 1.
    n_classes : int, optional
        Default: the largest label plus one.

    Raises
    ------
    InputError
        Labels that are not a vector of integers in range.
    """
    indices = np.asarray(labels)
    if indices.ndim != 1 or indices.dtype.kind not in "iu" or len(indices) == 0:
        raise InputError("labels must be a vector of integers, one for each sample")
    count = int(indices.max()) + 1 if n_classes is None else n_classes
    if indices.min() < 0 or indices.max() >= count:
        raise InputError(f"labels must lie in 0..{count - 1}, got {indices.min()}..{indices.max()}")
    Y = np.zeros((len(indices), count), np.float32)
    Y[np.arange(len(indices)), indices] = 1.0
    return Y


def encode(labels: ArrayLike, classes: NDArray[Any], name: str) -> NDArray[np.intp]:
    """Index in sorted `classes` of each label; `InputError` for a label not among them."""
    labels = np.asarray(labels)
    if classes.dtype.kind == "U":
        labels = labels.astype(np.str_)  # "1", "2", "x" in training, 1 and 2 alone later
    elif labels.dtype.kind == "U":
        raise InputError(
            f"{name}: label {labels[0].item()!r} does not occur in the training labels"
        )
    found = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    unknown = labels[classes[found] != labels]
    if len(unknown):
        raise InputError(
            f"{name}: label {unknown[0].item()!r} does not occur in the training labels"
        )
    return found
