"""Several labels for each sample: a matrix with a column of 0 and 1 for each label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.label_values import is_missing
from fastbcd.data.validation import check_finite
from fastbcd.errors import InputError
from fastbcd.support.parameters import loss_name, plain

# Losses of one label against its absence, which add up over labels.
LOSSES_OF_LABELS = ("logistic_ovr", "exponential", "hinge")


def has_columns(y: Any) -> bool:
    """Whether y has two or more columns, so that they are labels of 0 and 1."""
    try:
        shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
    except ValueError:  # rows of several lengths
        return False
    return len(shape) == 2 and shape[1] > 1


def label_columns(y: Any, name: str) -> NDArray[Any]:
    """Return y as a matrix (n, k) of numbers or bools; a sparse one becomes dense.

    `InputError` for other types, and for a missing value.
    """
    array = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
    if array.dtype.kind == "O":
        for (row, column), value in np.ndenumerate(array):
            if is_missing(value):
                raise InputError(f"{name}: row {row}, column {column} is missing")
        array = np.asarray(array.tolist())
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{name} has several columns, which are labels of 0 and 1, but holds {array.dtype}; "
            "give classes as a vector"
        )
    check_finite(array, name)
    return array


def check_labels(Y: NDArray[Any], name: str) -> NDArray[np.int8]:
    """Return Y (n, k) as integers; `InputError` for a number other than 0 and 1."""
    wrong = (Y != 0) & (Y != 1)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"{name} has several columns, which are labels of 0 and 1, but row {row}, column "
            f"{column} is {Y[row, column]}; give classes as a vector"
        )
    return Y.astype(np.int8)


def check_both_occur(Y: NDArray[Any], name: str, names: Sequence[Any]) -> None:
    """`InputError` if a column of Y (n, k) is constant; `names` are those of the labels."""
    constant = np.flatnonzero(Y.min(axis=0) == Y.max(axis=0))
    if len(constant):
        k = int(constant[0])
        raise InputError(
            f"{name}: the label {names[k]!s} is {Y[0, k]:g} in all samples that are left to train "
            "on; leave its column out, or give more samples"
        )


def is_loss_of_labels(loss: Any) -> bool:
    """Whether a `Loss`, or its text, is for several labels; see `loss_of_labels`."""
    return _is_cross_entropy(loss) or loss_name(loss) in LOSSES_OF_LABELS


def _is_cross_entropy(loss: Any) -> bool:
    """Whether a text is the name of the cross-entropy without label smoothing."""
    text = plain(loss)
    return isinstance(text, str) and text == "cross_entropy"


def loss_of_labels(loss: Any) -> Any:
    """Return the loss of several labels: the cross-entropy of each label is the logistic loss.

    `InputError` for a loss of one class among several.
    """
    if not is_loss_of_labels(loss):
        raise InputError(
            f"loss: {plain(loss)!r} is not for several labels of 0 and 1; those that are: "
            f"cross_entropy, {', '.join(LOSSES_OF_LABELS)}"
        )
    return "logistic_ovr" if _is_cross_entropy(loss) else loss
