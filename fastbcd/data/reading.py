"""From sources to a data set: their headers are checked, then one rank's rows are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from fastbcd.errors import InputError

# Makes the array, of a shape and type, that rows are read into.
Allocate = Callable[[tuple[int, ...], Any], NDArray[Any]]
# How many training samples of so many features a rank takes at a time.
Unit = Callable[[int], int]


@dataclass
class Pair:
    """Features and labels of one set, each from one source or several, numbered through.

    Parameters
    ----------
    X : list of Source
    y : list of Source
        Each of as many samples as its X; no sources where labels are not known.

    Raises
    ------
    InputError
        No samples, features that are no numbers or not those of the first source, labels that are
        none or not as many as samples.
    """

    X: list[Source]
    y: list[Source]

    def __post_init__(self) -> None:
        several = len(self.X) > 1
        for X in self.X:
            _check_features(X, may_be_empty=several)
            if self.image_shape and len(X.shape) > 2:
                check_same_shape(
                    *(self.image_shape, X.shape[1:], f"{self.X[0].name} has images", X.name)
                )
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
        """How many features there are."""
        return self.X[0].width

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample, where it is an image."""
        return self.X[0].shape[1:] if len(self.X[0].shape) > 2 else None

    def features(self, rows: slice, allocate: Allocate) -> NDArray[Any]:
        """`rows` (m, d) of X, finite: as they lie in a file where they can be mapped, else copied.

        In the order of the file: columns together where it has them so.
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
        """`rows` (m,) of y, as `class_labels` has them; None where labels are not known."""
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
    """Sources of the data set `name`: training (None for prediction) and test set."""

    name: str
    train: Pair | None
    test: Pair

    @classmethod
    def of(cls, name: str, training: bool, sources: Callable[[str], list[Source]]) -> Sets:
        """Of `sources`, by names such as ``X_train``; only those of the test set for prediction.

        `training` says which, `name` is the set's.
        """

        def pair(which: str) -> Pair:
            return Pair(sources(f"X_{which}"), sources(f"y_{which}"))

        return cls(name, pair("train") if training else None, pair("test"))


def read(sets: Sets, ranks: Ranks, allocate: Allocate, unit: Unit) -> Dataset:
    """One rank's rows of both sets; see `fastbcd.data.load`."""
    train, test = sets.train, sets.test
    if train is None:
        X_train = y_train = n_train = None
    else:
        check_same_features(sets.name, train.width, test.width)
        if train.image_shape and test.image_shape:
            check_same_shape(
                *(train.image_shape, test.image_shape),
                f"{sets.name}: the training set has images",
                "the test set",
            )
        rows, n_train = ranks.rows(len(train), unit(train.width)), len(train)
        X_train, y_train = train.features(rows, allocate), train.labels(rows)
    rows = ranks.rows(len(test))
    X_test, y_test = test.features(rows, allocate), test.labels(rows)
    return Dataset(
        *(sets.name, X_train, y_train, X_test, y_test),
        n_train=n_train,
        n_test=len(test),
        image_shape=test.image_shape if train is None else train.image_shape,
    )


def share(dataset: Dataset, ranks: Ranks, allocate: Allocate, unit: Unit) -> Dataset:
    """One rank's rows of a data set that is in memory as a whole."""

    def rows_of(array: Any, allocate: Allocate, unit: int = 1) -> Any:
        if array is None:
            return None
        own = array[ranks.rows(len(array), unit)]
        out = allocate(own.shape, own.dtype) if len(own) else np.empty(own.shape, own.dtype)
        out[...] = own
        return out

    whole = 1 if dataset.X_train is None else unit(dataset.X_train.shape[1])
    return Dataset(
        dataset.name,
        rows_of(dataset.X_train, allocate, whole),
        rows_of(dataset.y_train, np.empty, whole),
        rows_of(dataset.X_test, allocate),
        rows_of(dataset.y_test, np.empty),
        dataset.feature_names,
        dataset.n_train,
        dataset.n_test,
        dataset.image_shape,
    )


def _native(X: Source) -> np.dtype[Any]:
    """Type of X's features in memory."""
    return X.dtype.newbyteorder("=") if X.dtype.kind in "fiub" else np.dtype(np.float64)


def _check_features(X: Source, may_be_empty: bool) -> None:
    """`InputError` where X has no features; one sample stands for all."""
    shape = X.shape
    if shape and (0 not in shape or may_be_empty):
        shape = (1, *shape[1:])
    dtype = np.dtype(np.float64) if X.dtype.kind in "US" else X.dtype
    flat_samples(np.broadcast_to(np.zeros((), dtype), shape), X.name)


def _check_labels(X: Source, y: Source) -> None:
    """`InputError` where y has not one label for each sample of X."""
    class_labels(np.empty(0, y.dtype), 0, y.name)
    try:
        check_label_shape(y.shape, len(X), y.name)
    except InputError:
        X.verify()  # a damaged file would be the cause
        if y.shape:
            y.verify()
        raise


def _parts(sources: list[Source], rows: slice) -> Iterator[tuple[Source, slice, int]]:
    """Each source that has some of `rows`, which of its own these are, and where they go."""
    first = 0
    for source in sources:
        start, stop = max(rows.start, first), min(rows.stop, first + len(source))
        if start < stop:
            yield source, slice(start - first, stop - first), start - rows.start
        first += len(source)


def _finite_pieces(X: Source, rows: slice) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """`X.pieces`, as numbers, all of them finite."""
    for row, column, piece in X.pieces(rows):
        numbers = as_numbers(piece, X.name)
        check_finite(numbers, X.name, row, column)
        yield row, column, numbers
