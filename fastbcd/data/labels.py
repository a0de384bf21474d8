"""Class labels: the sorted classes, their indices, and one-hot targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbcd.data.blocks import blocks, rows_of_block
from fastbcd.data.label_values import faithful
from fastbcd.devices.ranks import Ranks
from fastbcd.errors import InputError
from fastbcd.support.floating_point import own_errstate
from fastbcd.support.parameters import plain, require_integer

# So many labels at a time become Python objects.
BLOCK = 2**16
# An error names so many classes at most.
SHOWN = 10


@own_errstate
def one_hot(
    labels: ArrayLike, n_classes: int | None = None, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """``Y[i, labels[i]] = 1``, zero elsewhere: (n, n_classes), float32.

    Parameters
    ----------
    labels : (n,) array of int
        Class indices from 0 to n_classes - 1.
    n_classes : int, optional
        Default: the largest label plus one. If it is given, n may be 0.
    out : (n, n_classes) array, optional
        Array of any type to write to and return; default: a new one.

    Raises
    ------
    InputError
        Labels are not a vector of integers in range, or `out` has another shape.
    """
    indices = faithful(labels, "labels")
    too_few = len(indices) == 0 and n_classes is None if indices.ndim == 1 else True
    if too_few or indices.dtype.kind not in "iu":
        raise InputError("labels must be a vector of integers, one for each sample")
    if n_classes is None:
        count = int(indices.max()) + 1
    else:
        count = require_integer(n_classes, "n_classes", at_least=1)
    if len(indices) and (indices.min() < 0 or indices.max() >= count):
        raise InputError(f"labels must lie in 0..{count - 1}, got {indices.min()}..{indices.max()}")
    shape = (len(indices), count)
    if out is None:
        out = np.zeros(shape, np.float32)
    elif out.shape != shape:
        raise InputError(f"out must have shape {shape}, got {out.shape}")
    for rows in blocks(out, rows_of_block(count)):
        part = indices[rows]
        out[rows] = 0.0
        out[rows][np.arange(len(part)), part] = 1.0
    return out


def classes_of(labels: NDArray[Any], ranks: Ranks, name: str) -> NDArray[Any]:
    """Return the sorted classes (k,) among the labels of all ranks.

    Parameters
    ----------
    labels : (n,) array
        Labels of this rank's training samples; n may be 0.
    ranks : Ranks
    name : str
        Name of the data, for the error.

    Raises
    ------
    InputError
        There are fewer than two classes.
    """
    parts = [part for part in ranks.gather(np.unique(labels)) if len(part)]
    classes = np.unique(np.concatenate(parts))
    if len(classes) < 2:
        raise InputError(
            f"{name}: the training labels are all {classes[0]}; at least two classes needed"
        )
    return classes


def encode(labels: ArrayLike, classes: NDArray[Any], name: str) -> NDArray[np.intp]:
    """Apply `indices_of` to labels from files, which may write one class in two ways.

    A column with "1", "2" and "x" has texts, while one with 1 and 2 only is read as numbers.
    Models of earlier versions have the class 1 for "01" in the file.
    """
    labels = np.asarray(labels)
    texts = labels.dtype.kind == "U"
    if classes.dtype.kind in "UO" and not texts:
        labels = labels.astype(np.str_)
    elif texts and classes.dtype.kind not in "UO":
        named = {str(label): label for label in classes.tolist()}
        read = {text: named.get(text, _number(text)) for text in np.unique(labels).tolist()}
        labels = np.array([read[text] for text in labels.tolist()], object)
    return indices_of(labels, classes, name)


def _number(text: str) -> Any:
    """Return the number that a text stands for, or else the text."""
    try:
        return float(text)
    except ValueError:
        return text


def indices_of(labels: ArrayLike, classes: NDArray[Any], name: str) -> NDArray[np.intp]:
    """Return the index in `classes` of each label; a number never equals a text.

    Parameters
    ----------
    labels : (n,) array
    classes : (k,) array
        The classes, each of them once.
    name : str
        Name of the labels, for the error.

    Raises
    ------
    InputError
        A label is not among the classes.
    """
    known = {label: k for k, label in enumerate(classes.tolist())}
    labels = np.asarray(labels)
    found = np.empty(len(labels), np.intp)
    for start in range(0, len(labels), BLOCK):
        for i, label in enumerate(labels[start : start + BLOCK].tolist(), start):
            k = known.get(label)
            if k is None:
                raise InputError(
                    f"{name}: label {plain(label)!r} does not occur in the training labels, which "
                    f"are {_listed(classes)}"
                )
            found[i] = k
    return found


def _listed(classes: NDArray[Any]) -> str:
    """List the first few of `classes`."""
    shown = [repr(plain(label)) for label in classes[:SHOWN]]
    return ", ".join(shown) + (f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else "")
