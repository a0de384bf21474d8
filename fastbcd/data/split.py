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
    from sklearn.model_selection import train_test_split

    classes, counts = np.unique(y, return_counts=True)
    if len(classes) > 1 and counts.min() < 2:
        raise InputError(
            f"{name}: class {classes[counts.argmin()].item()!r} has one sample; at least two are "
            "needed, one to train and one to test"
        )
    try:
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=test_fraction, random_state=SPLIT_SEED, stratify=y
        )
    except ValueError as error:
        raise InputError(
            f"{name} cannot be split with test fraction {test_fraction}: {error}"
        ) from None
    return Dataset(name, X_train, y_train, X_test, y_test)
