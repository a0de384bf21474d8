"""MNIST and CIFAR-10 for all methods alike, as files that subprocesses read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Samples:
    """Inputs (n, d) and classes (n,) from 0 on, for training and for measuring."""

    X: NDArray[Any]
    y: NDArray[Any]
    X_test: NDArray[Any]
    y_test: NDArray[Any]

    @property
    def n_classes(self) -> int:
        """Number of classes; a part of the training set may lack some that the test set has."""
        return int(max(self.y.max(), self.y_test.max())) + 1

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Rows, columns and colours of the square images of X: one colour, or three."""
        colours = 1 if math.isqrt(self.X.shape[1]) ** 2 == self.X.shape[1] else 3
        side = math.isqrt(self.X.shape[1] // colours)
        return side, side, colours

    def save(self, folder: Path) -> None:
        """One .npy a field."""
        for name, array in vars(self).items():
            np.save(folder / f"{name}.npy", array)

    def part(self, share: float, seed: int) -> Samples:
        """Return this `share` of the training samples, drawn by `seed`; all of them for 1."""
        if share == 1:
            return self
        drawn = np.random.default_rng(seed).permutation(len(self.X))[: round(share * len(self.X))]
        return replace(self, X=self.X[drawn], y=self.y[drawn])

    @classmethod
    def open(cls, folder: Path) -> Samples:
        """Read the files that `save` wrote."""
        return cls(*(np.load(folder / f"{name}.npy") for name in ("X", "y", "X_test", "y_test")))


def read_grey(folder: str) -> Samples:
    """The images of `folder`, levels uint8; raises `fastbcd.InputError`."""
    # Here, not above: methods that do not need fastbcd shall not carry it in their memory.
    from fastbcd.data import load
    from fastbcd.data.labels import encode

    raw = load(folder)
    classes = np.unique(raw.y_train)
    return Samples(
        raw.X_train,
        encode(raw.y_train, classes, "training set").astype(np.int64),
        raw.X_test,
        encode(raw.y_test, classes, "test set").astype(np.int64),
    )


def read(folder: str) -> Samples:
    """The same, float32 in [0, 1]."""
    from fastbcd.data import Preprocessing

    grey = read_grey(folder)
    scale = Preprocessing.fit(grey.X, "unit")
    return replace(grey, X=scale(grey.X, np.float32), X_test=scale(grey.X_test, np.float32))


def read_standardised(folder: str) -> Samples:
    """CIFAR-10 as rows, float32, each colour with mean 0 and variance 1 over the training set.

    `fastbcd.InputError` if `folder` has other inputs.
    """
    from fastbcd import InputError
    from fastbcd.data import Preprocessing

    raw = read_grey(folder)
    if raw.X.shape[1] != 3072:
        raise InputError(f"{folder} has {raw.X.shape[1]} inputs, and CIFAR-10 has 3072")
    scale = Preprocessing.fit(raw.X, "standard", channels=3)
    return replace(raw, X=scale(raw.X, np.float32), X_test=scale(raw.X_test, np.float32))


def without_test_set(samples: Samples) -> Samples:
    """The training set alone, its last sixth held out for measuring."""
    n = len(samples.X) * 5 // 6
    return Samples(samples.X[:n], samples.y[:n], samples.X[n:], samples.y[n:])
