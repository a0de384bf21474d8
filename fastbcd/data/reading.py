"""From sources to a data set: headers are checked, then one rank's rows are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.blocks import release
from fastbcd.data.dataset import (
    Dataset,
    check_label_shape,
    check_same_features,
    class_labels,
    common_label_type,
    flat_samples,
)
from fastbcd.data.inputs import check_same_shape
from fastbcd.data.source import Source
from fastbcd.data.validation import as_numbers, check_finite
from fastbcd.devices.ranks import Ranks
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.errors import InputError

# Makes the array that rows are read into, given its shape and type.
Allocate = Callable[[tuple[int, ...], Any], NDArray[Any]]
# Returns the unit of a rank's share in training samples, given the number of features.
Unit = Callable[[int], int]


@dataclass
class Pair:
    """Features and labels of one set; the rows of several sources are numbered consecutively.

    Parameters
    ----------
    X : list of Source
    y : list of Source
        Each has as many samples as its X. The list is empty if labels are unknown.

    Raises
    ------
    InputError
        There are no samples, features are not numbers or differ from those of the first source,
        or labels are no labels or not as many as samples.
    """

    X: list[Source]
    y: list[Source]

    def __post_init__(self) -> None:
        several = len(self.X) > 1
        for X in self.X:
            _check_features(X, may_be_empty=several)
            if self.image_shape and len(X.shape) > 2:
                first = f"{self.X[0].name} has images"
                check_same_shape(self.image_shape, X.shape[1:], first, X.name)
            if (X.width, _native(X)) != (self.width, _native(self.X[0])):
                raise InputError(
                    f"{X.name} has {X.width} features of type {X.dtype.name}, but "
                    f"{self.X[0].name} has {self.width} of {self.X[0].dtype.name}"
                )
        if len(self) == 0:
            raise InputError(f"{self.X[0].name} and those after it must have at least one sample")
        for X, y in zip(self.X, self.y, strict=bool(self.y)):
            _check_labels(X, y)
        if self.y:
            self.label_type = common_label_type([(y.name, y.dtype) for y in self.y])

    def __len__(self) -> int:
        return sum(map(len, self.X))

    @property
    def width(self) -> int:
        """Number of features."""
        return self.X[0].width

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample if it is an image, else None."""
        return self.X[0].shape[1:] if len(self.X[0].shape) > 2 else None

    def features(self, rows: slice, allocate: Allocate) -> NDArray[Any]:
        """Return `rows` (m, d) of X, finite: mapped from the file if possible, else copied.

        The copy, made by `allocate`, has the file's order of elements (by rows or by columns).
        """
        parts = list(_parts(self.X, rows))
        if len(parts) == 1:
            X, own, _ = parts[0]
            mapped = X.map(own) if X.dtype.kind in "fiub" else None
            if mapped is not None:
                if X.dtype.kind == "f" or (X.has_checksum and len(mapped) == len(X)):
                    for _ in _finite_pieces(X, own):
                        pass
                return mapped
        m, dtype = rows.stop - rows.start, _native(self.X[0])
        if m == 0:
            return np.empty((0, self.width), dtype)
        if all(X.fortran and len(X.shape) == 2 for X in self.X):
            out = allocate((self.width, m), dtype).T
        else:
            out = allocate((m, self.width), dtype)
        for X, own, at in parts:
            for row, column, piece in _finite_pieces(X, own):
                first = at + row - own.start
                out[first : first + len(piece), column : column + piece.shape[1]] = piece
                release(out[first : first + len(piece)])
        return out

    def labels(self, rows: slice) -> NDArray[Any] | None:
        """Return `rows` (m,) of y, checked by `class_labels`; None if labels are unknown."""
        if not self.y:
            return None
        out = np.empty(rows.stop - rows.start, self.label_type)
        for y, own, at in _parts(self.y, rows):
            for row, _, piece in y.pieces(own):
                first = at + row - own.start
                out[first : first + len(piece)] = class_labels(piece[:, 0], len(piece), y.name)
        return out


@dataclass
class Sets:
    """Sources of the training set (None for prediction) and the test set of the data `name`."""

    name: str
    train: Pair | None
    test: Pair

    @classmethod
    def of(cls, name: str, training: bool, sources: Callable[[str], list[Source]]) -> Sets:
        """Collect what ``sources("X_train")`` and the like return, for the data `name`.

        Without `training`, for prediction, it asks for the test set only.
        """

        def pair(which: str) -> Pair:
            return Pair(sources(f"X_{which}"), sources(f"y_{which}"))

        return cls(name, pair("train") if training else None, pair("test"))


def read(sets: Sets, ranks: Ranks, allocate: Allocate, unit: Unit) -> Dataset:
    """Read one rank's rows of both sets; see `fastbcd.data.load`."""
    train, test = sets.train, sets.test
    if train is None:
        X_train = y_train = n_train = None
    else:
        check_same_features(sets.name, train.width, test.width)
        if train.image_shape and test.image_shape:
            first = f"{sets.name}: the training set has images"
            check_same_shape(train.image_shape, test.image_shape, first, "the test set")
        rows, n_train = ranks.rows(len(train), unit(train.width)), len(train)
        X_train, y_train = train.features(rows, allocate), train.labels(rows)
    rows = ranks.rows(len(test))
    X_test, y_test = test.features(rows, allocate), test.labels(rows)
    return Dataset(
        name=sets.name,
        X_train=X_train,
        y_train=y_train,
        X_test=X_test,
        y_test=y_test,
        n_train=n_train,
        n_test=len(test),
        image_shape=test.image_shape if train is None else train.image_shape,
    )


def share(dataset: Dataset, ranks: Ranks, allocate: Allocate, unit: Unit) -> Dataset:
    """Copy one rank's rows of a data set that is wholly in memory."""

    def rows_of(array: Any, allocate: Allocate, unit: int = 1) -> Any:
        if array is None:
            return None
        if isinstance(array, SparseRows):
            raise InputError(
                f"{dataset.name} has sparse features, which are for one process in memory: leave "
                "out mpiexec and --memory"
            )
        own = array[ranks.rows(len(array), unit)]
        out = allocate(own.shape, own.dtype) if len(own) else np.empty(own.shape, own.dtype)
        out[...] = own
        return out

    whole = 1 if dataset.X_train is None else unit(dataset.X_train.shape[1])
    return replace(
        dataset,
        X_train=rows_of(dataset.X_train, allocate, whole),
        y_train=rows_of(dataset.y_train, np.empty, whole),
        weight_train=rows_of(dataset.weight_train, np.empty, whole),
        X_test=rows_of(dataset.X_test, allocate),
        y_test=rows_of(dataset.y_test, np.empty),
    )


def _native(X: Source) -> np.dtype[Any]:
    """Return the type of X's features in memory."""
    return X.dtype.newbyteorder("=") if X.dtype.kind in "fiub" else np.dtype(np.float64)


def _check_features(X: Source, may_be_empty: bool) -> None:
    """Raise an `InputError` if X has no features; one sample is checked in place of all."""
    shape = X.shape
    if shape and (0 not in shape or may_be_empty):
        shape = (1, *shape[1:])
    dtype = np.dtype(np.float64) if X.dtype.kind in "US" else X.dtype
    flat_samples(np.broadcast_to(np.zeros((), dtype), shape), X.name)


def _check_labels(X: Source, y: Source) -> None:
    """Raise an `InputError` unless y has one label for each sample of X."""
    class_labels(np.empty(0, y.dtype), 0, y.name)
    try:
        check_label_shape(y.shape, len(X), y.name)
    except InputError:
        X.verify()  # report a damaged file first, which would be the cause
        if y.shape:
            y.verify()
        raise


def _parts(sources: list[Source], rows: slice) -> Iterator[tuple[Source, slice, int]]:
    """Yield each source with some of `rows`, its own rows, and their start within `rows`."""
    first = 0
    for source in sources:
        start, stop = max(rows.start, first), min(rows.stop, first + len(source))
        if start < stop:
            yield source, slice(start - first, stop - first), start - rows.start
        first += len(source)


def _finite_pieces(X: Source, rows: slice) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield `X.pieces` as numbers, after checking that all are finite."""
    for row, column, piece in X.pieces(rows):
        numbers = as_numbers(piece, X.name)
        check_finite(numbers, X.name, row, column)
        yield row, column, numbers
