"""scikit-learn's MLPClassifier, one pass at a time: its Adam, its initialisation, float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from libraries import blas_names, blas_threads
from mnist import Samples
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier


class MLP:
    """Every `partial_fit` is one pass in mini-batches."""

    def __init__(self, samples: Samples, widths: tuple[int, ...], rate: float, batch: int) -> None:
        self.X, self.y = samples.X, samples.y
        self.widths, self.rate, self.batch = widths, rate, batch
        self.threads, self.blas = blas_threads(), blas_names()

    def start(self) -> None:
        self.network = MLPClassifier(
            self.widths[1:-1],
            learning_rate_init=self.rate,
            batch_size=min(self.batch, len(self.X)),
            # A seed would give every partial_fit the same order of samples; a generator goes on.
            random_state=np.random.RandomState(0),
        )

    def one_pass(self) -> None:
        self.network.partial_fit(self.X, self.y, classes=np.arange(self.widths[-1]))

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        return self.network.predict(X)
