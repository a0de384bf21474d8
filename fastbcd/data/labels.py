"""Class labels: the sorted classes, their indices, and one-hot targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbcd.data.label_values import faithful
from fastbcd.devices.ranks import Ranks
from fastbcd.devices.storage.pages import release
from fastbcd.errors import InputError
from fastbcd.support.floating_point import own_errstate
from fastbcd.support.parameters import require_integer

# Of a block of targets.
NUMBERS = 2**19
# Labels that are Python objects at a time.
BLOCK = 2**16
# Classes that an error names, at most.
SHOWN = 10


@own_errstate
def one_hot(
    labels: ArrayLike, n_classes: int | None = None, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """``Y[i, labels[i]] = 1``, zero elsewhere: (n, n_classes), float32.

    Parameters
    ----------
    labels : (n,) array of int
        From 0 to n_classes - 1.
    n_classes : int, optional
        Default: the largest label plus one. Where it is given there need be no samples.
    out : (n, n_classes) array, optional
        Of any type, to write to and return; default: a new one.

    Raises
    ------
    InputError
        Labels that are not a vector of integers in range, or `out` of another shape.
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
    step = max(1, NUMBERS // max(1, count))
    for start in range(0, len(indices), step):
        part = indices[start : start + step]
        rows = out[start : start + step]
        rows[...] = 0.0
        rows[np.arange(len(part)), part] = 1.0
        release(rows)
    return out


def classes_of(labels: NDArray[Any], ranks: Ranks, name: str) -> NDArray[Any]:
    """The sorted classes (k,) among `labels` (n,) of all ranks, some of which may have none.

    Parameters
    ----------
    labels : (n,) array
        Of the samples that this rank trains on.
    ranks : Ranks
    name : str
        Of the data, for the error.

    Raises
    ------
    InputError
        Fewer than two classes.
    """
    parts = [part for part in ranks.gather(np.unique(labels)) if len(part)]
    classes = np.unique(np.concatenate(parts))
    if len(classes) < 2:
        raise InputError(
            f"{name}: the training labels are all {classes[0]}; at least two classes needed"
        )
    return classes


def encode(labels: ArrayLike, classes: NDArray[Any], name: str) -> NDArray[np.intp]:
    """`indices_of` for labels that were read from files, which may write one class in two ways.

    A column with "1", "2" and "x" is one of texts; 1 and 2 alone, later, are read as numbers. And
    models of earlier versions have the class 1 where the file has "01".
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
    """The number that a text stands for, or the text."""
    try:
        return float(text)
    except ValueError:
        return text


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


def plain(label: Any) -> Any:
    """`label` as Python has it, to be shown: no ``np.int64(1)``."""
    return label.item() if isinstance(label, np.generic) else label


def _listed(classes: NDArray[Any]) -> str:
    """The first few of `classes`, in words."""
    shown = [repr(plain(label)) for label in classes[:SHOWN]]
    return ", ".join(shown) + (f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else "")
