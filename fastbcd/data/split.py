"""A held-out test set, always the same for the same data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.dataset import Dataset
from fastbcd.errors import InputError

SPLIT_SEED = 0


def split(name: str, X: NDArray[Any], y: Any, test_fraction: float) -> Dataset:
    """Split samples by class; the seed of a run does not matter, so that runs are comparable."""
    train, test = split_rows(name, y, test_fraction)
    return Dataset(name, X[train], y[train], X[test], y[test])


def split_rows(
    name: str, y: Any, test_fraction: float, by_class: bool = True
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the indices of the rows to train on, and of those to hold out.

    Targets y (n, ...) are classes, with as large a share in both parts, unless `by_class` is False.
    """
    from sklearn.model_selection import train_test_split

    if by_class:
        classes, counts = np.unique(y, return_counts=True)
        if len(classes) > 1 and counts.min() < 2:
            raise InputError(
                f"{name}: class {classes[counts.argmin()].item()!r} has one sample; at least two "
                "are needed, one to train and one to test"
            )
    try:
        train, test = train_test_split(
            np.arange(len(y)),
            test_size=test_fraction,
            random_state=SPLIT_SEED,
            stratify=y if by_class else None,
        )
    except ValueError as error:
        raise InputError(
            f"{name} cannot be split with test fraction {test_fraction}: {error}"
        ) from None
    return train, test
