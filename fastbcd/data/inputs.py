"""Properties of a model's training inputs, and checks that other inputs have them."""

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
from fastbcd.data.sparse import is_sparse, sparse_rows
from fastbcd.data.validation import as_numbers, check_matrix
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.errors import InputError

ANY = "n"
KINDS = {"b": "bools", "u": "unsigned integers", "i": "integers", "f": "floats", ANY: "numbers"}


@dataclass(frozen=True)
class Inputs:
    """Number, names and kind of the features that a model was trained on.

    Parameters
    ----------
    width : int
        Number of features.
    names : list of str, optional
        Names of the columns, in the order of training.
    kind : {"b", "u", "i", "f", "n"}, optional
        Kind of the features' type, as `numpy.dtype.kind`; "n" if they were read from text, which
        has no types.
    shape : tuple of int, optional
        Shape of an image, if the features are its elements.
    """

    width: int
    names: list[str] | None = None
    kind: str | None = None
    shape: tuple[int, ...] | None = None

    def take(self, X: Any, names: Sequence[str] | None = None) -> Any:
        """Return X as (n, width) numbers, after comparing it with the training inputs.

        Sparse X becomes `SparseRows`.

        If only one of X and the model has names there is a `UserWarning`, as in scikit-learn.
        Models from before format 4, which have no `kind`, do not warn.

        Parameters
        ----------
        X : array or data frame
            (n, width), or (n, ...) images.
        names : sequence of str, optional
            Names of the columns of an array.

        Raises
        ------
        InputError
            X differs from the training inputs. The message names the first difference.
        """
        self._check_names(names_of(X) if names is None else list(names))
        X = self._flat(X)
        if X.shape[1] != self.width:
            raise InputError(
                f"X has {X.shape[1]} features, but the model was trained on {self.width}"
            )
        self.check_kind(X)
        return X

    def _flat(self, X: Any) -> Any:
        if is_sparse(X):
            return sparse_rows(X, "X")
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
            return  # earlier versions, which wrote such models, did not warn
        elif given is not None:
            warnings.warn("X has feature names, but the model was trained without", stacklevel=5)
        elif self.names is not None:
            shown = ", ".join(self.names[:3]) + (", ..." if len(self.names) > 3 else "")
            warnings.warn(
                f"X does not have feature names, but the model was trained with some: {shown}",
                stacklevel=5,
            )

    def check_kind(self, X: Any, name: str = "X") -> None:
        """Raise an `InputError` if X (n, d), called `name`, cannot be of the kind in training.

        Whole numbers may come as floats. But a model of grey levels takes no fractions, as in
        images divided by 255, and a model of floats takes no grey levels.
        """
        if self.kind == "f" and X.dtype.kind in "ub":
            raise InputError(
                f"{name} holds {X.dtype.name}, {KINDS[X.dtype.kind]}, but the model was trained on "
                "floats: were they scaled before training? Do the same here, or convert them by "
                "astype(float)"
            )
        if self.kind not in ("u", "b") or X.dtype.kind in ("b", self.kind):
            return
        if isinstance(X, SparseRows):
            own = X.compact()
            for k in np.flatnonzero(self._are_wrong(own.values))[:1]:
                self._refuse(name, X.dtype, own.values[k], *own.where(k))
            return
        for rows in blocks(X, rows_of_block(X.shape[1])):
            part = X[rows]
            for i, j in np.argwhere(self._are_wrong(part))[:1]:
                self._refuse(name, X.dtype, part[i, j], rows.start + i, j)

    def _are_wrong(self, numbers: NDArray[Any]) -> NDArray[np.bool_]:
        """Mark numbers that are no grey levels, or no bools, where training had these."""
        wrong = (numbers != np.rint(numbers)) | (numbers < 0)
        return np.asarray(wrong | (numbers > 1) if self.kind == "b" else wrong)

    def _refuse(self, name: str, dtype: Any, number: Any, row: int, column: int) -> None:
        raise InputError(
            f"{name} holds {dtype.name} with {number} in row {row}, column {column}, but the model "
            f"was trained on {KINDS[str(self.kind)]}: were they scaled? Give them as in training"
        )


def names_of(X: Any) -> list[str] | None:
    """Return the column names of a data frame (pandas, polars, Arrow), or None without names."""
    columns = getattr(X, "columns", None)
    if hasattr(X, "column_names"):  # in an Arrow table, `columns` are arrays
        columns = X.column_names
    names = None if columns is None else list(columns)
    if not names or not all(isinstance(name, str) for name in names):
        return None
    return [str(name) for name in names]


def check_same_names(trained: list[str], given: list[str], name: str) -> None:
    """Raise an `InputError` if the columns `given` of data `name` are not those `trained` on.

    The message names the first difference.
    """
    if given == trained:
        return
    missing = [column for column in trained if column not in given]
    if missing:
        raise InputError(
            f"{name} has no column {missing[0]!r}, which the model was trained on; it has "
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
    """Raise an `InputError` if shapes of images differ; axes of length 1 do not count.

    The message is ``{first} of shape {trained}, but {second} {given}``.
    """
    one, other = (tuple(d for d in shape if d != 1) for shape in (trained, given))
    if one != other:
        raise InputError(f"{first} of shape {tuple(trained)}, but {second} {tuple(given)}")
