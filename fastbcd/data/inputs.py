"""What a model knows of its inputs, and what it says of others."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.blocks import blocks, rows_of_block
from fastbcd.data.validation import as_numbers, check_matrix
from fastbcd.errors import InputError

ANY = "n"
KINDS = {"b": "bools", "u": "unsigned integers", "i": "integers", "f": "floats", ANY: "numbers"}


@dataclass(frozen=True)
class Inputs:
    """Number, names and kind of the features that a model was trained on.

    Parameters
    ----------
    width : int
        How many there are.
    names : list of str, optional
        Of columns, in the order of training.
    kind : {"b", "u", "i", "f", "n"}, optional
        Of the type that the features had, as `numpy.dtype.kind`; "n" where a table of text was
        read, which says nothing of types.
    shape : tuple of int, optional
        Of an image, whose elements are the features.
    """

    width: int
    names: list[str] | None = None
    kind: str | None = None
    shape: tuple[int, ...] | None = None

    def take(self, X: Any, names: Sequence[str] | None = None) -> NDArray[Any]:
        """X as (n, width) numbers, compared with what is known; a data frame or (n, ...) images.

        Where only one of X and the model has names there is a `UserWarning`, as scikit-learn's.
        Models of before format 4, whose `kind` is not known, give none.

        Parameters
        ----------
        X : array or data frame
        names : sequence of str, optional
            Of the columns of an array.

        Raises
        ------
        InputError
            Naming the first difference.
        """
        self._check_names(names_of(X) if names is None else list(names))
        X = self._flat(X)
        if X.shape[1] != self.width:
            raise InputError(
                f"X has {X.shape[1]} features, but the model was trained on {self.width}"
            )
        self.check_kind(X)
        return X

    def _flat(self, X: Any) -> NDArray[Any]:
        if self.shape is not None and not hasattr(X, "columns"):
            X = as_numbers(X, "X")
            if X.ndim > 2:
                shape = X.shape[1:]
                check_same_shape(self.shape, shape, "the model was trained on images", "X has")
                X = X.reshape(len(X), math.prod(shape))
        return check_matrix(X, "X")

    def _check_names(self, given: list[str] | None) -> None:
        if self.names is not None and given is not None:
            check_same_names(self.names, given, "X")
        elif self.kind is None:
            return  # a model of an earlier version, with which nobody was warned
        elif given is not None:
            warnings.warn("X has feature names, but the model was trained without", stacklevel=5)
        elif self.names is not None:
            shown = ", ".join(self.names[:3]) + (", ..." if len(self.names) > 3 else "")
            warnings.warn(
                f"X does not have feature names, but the model was trained with some: {shown}",
                stacklevel=5,
            )

    def check_kind(self, X: NDArray[Any], name: str = "X") -> None:
        """`InputError` where numbers of X (n, d) cannot be of the kind that was trained on.

        Whole numbers may come as floats, but no fractions where there were grey levels, which an
        image divided by 255 has, and no grey levels where there were floats.
        """
        if self.kind == "f" and X.dtype.kind in "ub":
            raise InputError(
                f"{name} holds {X.dtype.name}, {KINDS[X.dtype.kind]}, but the model was trained on "
                "floats: were they scaled before training? Do the same here, or convert them by "
                "astype(float)"
            )
        if self.kind not in ("u", "b") or X.dtype.kind in ("b", self.kind):
            return
        for rows in blocks(X, rows_of_block(X.shape[1])):
            part = X[rows]
            wrong = (part != np.rint(part)) | (part < 0)
            if self.kind == "b":
                wrong |= part > 1
            if wrong.any():
                i, j = np.argwhere(wrong)[0]
                raise InputError(
                    f"{name} holds {X.dtype.name} with {part[i, j]} in row {rows.start + i}, "
                    f"column {j}, but the model was trained on {KINDS[self.kind]}: were they "
                    "scaled on the way? Hand them in as in training"
                )


def names_of(X: Any) -> list[str] | None:
    """Names of the columns of a data frame (pandas, polars, Arrow); None where it has none."""
    columns = getattr(X, "columns", None)
    if hasattr(X, "column_names"):  # an Arrow table's columns are arrays
        columns = X.column_names
    names = None if columns is None else list(columns)
    if not names or not all(isinstance(name, str) for name in names):
        return None
    return [str(name) for name in names]


def check_same_names(trained: list[str], given: list[str], name: str) -> None:
    """`InputError` that names the first difference between columns of training and those `given`.

    `name` is that of the data.
    """
    if given == trained:
        return
    lacks = [column for column in trained if column not in given]
    if lacks:
        raise InputError(
            f"{name} has no column {lacks[0]!r}, which the model was trained on; it has "
            f"{', '.join(map(repr, given[:10]))}{', ...' if len(given) > 10 else ''}"
        )
    more = [column for column in given if column not in trained]
    if more:
        raise InputError(f"{name} has a column {more[0]!r}, which the model was not trained on")
    twice = [column for column, count in Counter(given).items() if count > 1]
    if twice:
        raise InputError(f"{name} has the column {twice[0]!r} twice")
    j = next(j for j, column in enumerate(given) if column != trained[j])
    raise InputError(
        f"{name} has its columns in another order than in training: column {j} is {given[j]!r}, "
        f"but was {trained[j]!r}"
    )


def check_same_shape(
    trained: tuple[int, ...], given: tuple[int, ...], first: str, second: str
) -> None:
    """`InputError` where images have other shapes, axes of length 1 aside.

    The sentence is ``{first} of shape ..., but {second} ...``.
    """
    one, other = (tuple(d for d in shape if d != 1) for shape in (trained, given))
    if one != other:
        raise InputError(f"{first} of shape {tuple(trained)}, but {second} {tuple(given)}")
