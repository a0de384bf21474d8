"""MNIST for all methods alike: inputs in [0, 1], float32, as files that subprocesses read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Samples:
    """Inputs (n, d) float32 and classes (n,) from 0 on, for training and for measuring."""

    X: NDArray[Any]
    y: NDArray[Any]
    X_test: NDArray[Any]
    y_test: NDArray[Any]

    @property
    def n_classes(self) -> int:
        """Number of classes in the training set."""
        return int(self.y.max()) + 1

    def save(self, folder: Path) -> None:
        """One .npy a field."""
        for name, array in vars(self).items():
            np.save(folder / f"{name}.npy", array)

    @classmethod
    def open(cls, folder: Path) -> Samples:
        """Read the files that `save` wrote."""
        return cls(*(np.load(folder / f"{name}.npy") for name in ("X", "y", "X_test", "y_test")))


def read(folder: str) -> Samples:
    """The four IDX files of `folder`; raises `fastbcd.InputError`."""
    # Here, not above: methods that do not need fastbcd shall not carry it in their memory.
    from fastbcd.data import Preprocessing, load
    from fastbcd.data.labels import encode

    raw = load(folder)
    scale = Preprocessing.fit(raw.X_train, "unit")
    classes = np.unique(raw.y_train)
    return Samples(
        scale(raw.X_train, np.float32),
        encode(raw.y_train, classes, "training set").astype(np.int64),
        scale(raw.X_test, np.float32),
        encode(raw.y_test, classes, "test set").astype(np.int64),
    )


def without_test_set(samples: Samples) -> Samples:
    """The training set alone, its last sixth held out for measuring: 50,000 and 10,000."""
    n = len(samples.X) * 5 // 6
    return Samples(samples.X[:n], samples.y[:n], samples.X[n:], samples.y[n:])
