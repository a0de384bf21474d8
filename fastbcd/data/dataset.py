"""Labelled samples for training and testing, as they were read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.errors import InputError
from fastbcd.validation import check_matrix

LARGEST_LABEL = 2**53


@dataclass
class Dataset:
    """Raw features (n, d) and labels (n,) of a training and a test set.

    Parameters
    ----------
    name : str
        Of the data, for messages and the run's folder.
    X_train, y_train : (n, d), (n,) array or None
        None where only prediction is asked for.
    X_test, y_test : (n, d), (n,) array
        Labels are None where they are unknown.
    feature_names : list of str, optional
        Columns of a CSV.

    Raises
    ------
    InputError
        The two sets have different numbers of features.
    """

    name: str
    X_train: Any
    y_train: Any
    X_test: Any
    y_test: Any
    feature_names: list[str] | None = None

    def __post_init__(self) -> None:
        if self.X_train is not None and self.X_train.shape[1] != self.X_test.shape[1]:
            raise InputError(
                f"{self.name}: the training set has {self.X_train.shape[1]} features, but the "
                f"test set has {self.X_test.shape[1]}"
            )


def flat_samples(X: Any, name: str) -> NDArray[Any]:
    """X with everything behind the first axis (an image's rows and columns) made one axis."""
    X = np.asarray(X)
    if X.ndim > 2 and X.size > 0:
        X = X.reshape(len(X), -1)
    return check_matrix(X, name)


def class_labels(y: Any, n: int, name: str) -> NDArray[Any]:
    """Y as a vector of n class labels: integers or text.

    Raises
    ------
    InputError
        Wrong length, or numbers that are not whole: no classes.
    """
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise InputError(f"{name} must hold one label for each sample, got shape {y.shape}")
    if len(y) != n:
        raise InputError(f"{name} has {len(y)} labels, but there are {n} samples")
    if y.dtype.kind == "f":
        if not (np.isfinite(y) & (y == np.round(y))).all():
            raise InputError(f"{name} must hold class labels, but has numbers that are not whole")
        if np.abs(y).max(initial=0) > LARGEST_LABEL:
            raise InputError(f"{name} has labels beyond 2^53, which no float tells apart")
        y = y.astype(np.int64)
    if y.dtype.kind == "u" and y.max(initial=0) > np.iinfo(np.int64).max:
        raise InputError(f"{name} has labels beyond 2^63")
    if y.dtype.kind not in "iubU":
        raise InputError(f"{name} must hold integers or text, got {y.dtype}")
    return y.astype(np.int64) if y.dtype.kind in "ub" else y
