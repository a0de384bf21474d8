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
    """`indices_of` for labels that were read from files: numbers are texts where classes are.

    A column with "1", "2" and "x" is one of texts; 1 and 2 alone, later, are read as numbers.
    """
    labels = np.asarray(labels)
    texts = classes.dtype.kind == "U"
    return indices_of(labels.astype(np.str_) if texts else labels, classes, name)


def indices_of(labels: ArrayLike, classes: NDArray[Any], name: str) -> NDArray[np.intp]:
    """Index in `classes` of each label; a number is no text, whatever type arrays have.

    Parameters
    ----------
    labels : (n,) array
    classes : (k,) array
        Each once.
    name : str
        Of the labels, for the error.

    Raises
    ------
    InputError
        A label that is not among the classes.
    """
    known = {label: k for k, label in enumerate(classes.tolist())}
    found = np.empty(len(np.asarray(labels)), np.intp)
    for i, label in enumerate(np.asarray(labels).tolist()):
        k = known.get(label)
        if k is None:
            raise InputError(
                f"{name}: label {plain(label)!r} does not occur in the training labels"
            )
        found[i] = k
    return found


def plain(label: Any) -> Any:
    """`label` as Python has it, to be shown: no ``np.int64(1)``."""
    return label.item() if isinstance(label, np.generic) else label
