"""Labelled samples for training and testing, as they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.inputs import ANY, Inputs
from fastbcd.data.validation import check_matrix
from fastbcd.errors import InputError

if TYPE_CHECKING:
    from fastbcd.data.tables.encoding import TableEncoding

LARGEST_LABEL = 2**53
# Half characters of UTF-16; a single one is not valid text.
SURROGATES = (0xD800, 0xDFFF)
# Family by kind of type; labels of one family may be in one array.
LABEL_FAMILY = {"i": "integer", "u": "integer", "b": "bool", "f": "float", "U": "text"}


@dataclass
class Dataset:
    """Raw features (n, d) and labels (n,) of a training and a test set, or one rank's rows.

    Parameters
    ----------
    name : str
        Name of the data, for messages and the run's folder.
    X_train, y_train : (n, d), (n,) array or None
        None if the data are for prediction only.
    X_test, y_test : (n, d), (n,) array
        Labels are None if they are unknown.
    feature_names : list of str, optional
        Columns of a CSV file.
    n_train, n_test : int, optional
        Numbers of samples of all ranks; default: those of the arrays.
    image_shape : tuple of int, optional
        Shape of one sample, if samples are images.
    encoding : TableEncoding, optional
        How the columns of a table became features, if they are not numbers as they stand.
    task : {"classification", "regression", "multilabel"}
        Whether targets are labels (n,) of classes, numbers (n, k), or k labels of 0 and 1, (n, k).
    targets : list of str
        Names of the columns with the targets.
    weight_train : (n,) array, optional
        Weights of the training samples.

    Raises
    ------
    InputError
        The two sets differ in the number of features, or in the kind of their numbers.
    """

    name: str
    X_train: Any
    y_train: Any
    X_test: Any
    y_test: Any
    feature_names: list[str] | None = None
    n_train: Any = None
    n_test: Any = None
    image_shape: tuple[int, ...] | None = None
    encoding: TableEncoding | None = None
    task: str | None = "classification"
    targets: list[str] = field(default_factory=list)
    weight_train: Any = None

    def __post_init__(self) -> None:
        if self.X_train is not None:
            d = self.X_train.shape[1]
            check_same_features(self.name, d, self.X_test.shape[1])
            Inputs(d, kind=self.input_kind).check_kind(self.X_test, f"{self.name}: the test set")
            self.n_train = len(self.X_train) if self.n_train is None else self.n_train
        self.n_test = len(self.X_test) if self.n_test is None else self.n_test

    @property
    def input_kind(self) -> str | None:
        """Kind of the numbers in training; those of a table are read as floats in any case."""
        return ANY if self.feature_names is not None else str(self.X_train.dtype.kind)


def check_same_features(name: str, train: int, test: int) -> None:
    """Raise an `InputError` if the sets of `name` differ in the number of features."""
    if train != test:
        raise InputError(
            f"{name}: the training set has {train} features, but the test set has {test}"
        )


def flat_samples(X: Any, name: str) -> NDArray[Any]:
    """Flatten all axes of X after the first, such as the rows and columns of an image."""
    X = np.asarray(X)
    if X.ndim > 2 and X.size > 0:
        X = X.reshape(len(X), -1)
    return check_matrix(X, name)


def check_label_shape(shape: tuple[int, ...], n: int, name: str) -> None:
    """Raise an `InputError` unless an array of this `shape` has one label for each of n samples."""
    if len(shape) != 1 and (len(shape) != 2 or shape[1] != 1):
        hint = "; of one-hot rows these are .argmax(axis=1)" if len(shape) == 2 else ""
        raise InputError(f"{name} must hold one label for each sample, got shape {shape}{hint}")
    if shape[0] != n:
        raise InputError(f"{name} has {shape[0]} labels, but there are {n} samples")


def class_labels(y: Any, n: int, name: str) -> NDArray[Any]:
    """Return `y` as a vector of n class labels of its own type: whole numbers, bools or text.

    Raises
    ------
    InputError
        `y` has another length, or numbers that are not whole, and so no classes.
    """
    y = np.asarray(y)
    check_label_shape(y.shape, n, name)
    if y.ndim == 2:
        y = y[:, 0]
    if y.dtype.kind not in "iubUf" or (y.dtype.itemsize > 8 and y.dtype.kind == "f"):
        hint = "; decode them: y.astype(str)" if y.dtype.kind == "S" else ""
        raise InputError(f"{name} must hold integers or text, got {y.dtype}{hint}")
    if y.dtype.kind == "f":
        if not (np.isfinite(y) & (y == np.round(y))).all():
            raise InputError(f"{name} must hold class labels, but has numbers that are not whole")
        if np.abs(y.astype(np.float64)).max(initial=0) > LARGEST_LABEL:
            raise InputError(f"{name} has labels beyond 2^53, which floats cannot tell apart")
    if y.dtype.kind == "U" and len(y):
        letters = np.ascontiguousarray(y, y.dtype.newbyteorder("=")).view(np.uint32)
        if ((letters >= SURROGATES[0]) & (letters <= SURROGATES[1])).any():
            raise InputError(f"{name} has labels with half characters, which no file can hold")
    if y.dtype.kind == "u" and y.max(initial=0) > np.iinfo(np.int64).max:
        raise InputError(f"{name} has labels beyond 2^63")
    return y


def common_label_type(kinds: list[tuple[str, np.dtype[Any]]]) -> np.dtype[Any]:
    """Return a type that holds the labels of all arrays, given as (name, type), unchanged.

    Raises
    ------
    InputError
        Texts or bools are mixed with numbers, or only a float could hold all integers.
    """
    first, dtype = kinds[0]
    for name, other in kinds[1:]:
        both = np.result_type(dtype, other)
        same = LABEL_FAMILY[other.kind] == LABEL_FAMILY[dtype.kind]
        if not same or (both.kind == "f" and other.kind != "f"):
            raise InputError(f"{name} has labels of type {other.name}, but {first} {dtype.name}")
        dtype = both
    return dtype.newbyteorder("=")
