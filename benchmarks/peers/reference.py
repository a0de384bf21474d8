"""The published procedure as a method: an iteration is a pass, `monitor` its own evaluation."""

from __future__ import annotations

from typing import Any

import torch
from mnist import Samples
from numpy.typing import NDArray
from published import PublishedBCD
from torch_setup import blas, use_all_cores


class Published:
    """784-1500x3-10 of the paper: gamma = rho = 1, alpha = 5, seed 40. Samples are columns."""

    def __init__(self, samples: Samples, widths: tuple[int, ...]) -> None:
        self.threads, self.blas = use_all_cores(), blas()
        self.solver = PublishedBCD(widths)
        self.X, self.X_test = _columns(samples.X), _columns(samples.X_test)
        self.y, self.y_test = torch.from_numpy(samples.y), torch.from_numpy(samples.y_test)
        self.Y = torch.nn.functional.one_hot(self.y, widths[-1]).T.float().contiguous()

    def start(self) -> None:
        self.blocks = self.solver.start(self.X, seed=40)

    def one_pass(self) -> None:
        self.solver.iterate(self.blocks, self.Y)

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        return self.solver.predict(self.blocks, _columns(X)).numpy()

    def monitor(self) -> dict[str, float]:
        """Objective with all its terms, accuracy on all training and all test samples."""
        train = self.solver.predict(self.blocks, self.X) == self.y
        test = self.solver.predict(self.blocks, self.X_test) == self.y_test
        return {
            "objective": self.solver.objective(self.blocks, self.Y),
            "train_accuracy": float(train.float().mean()),
            "test_accuracy": float(test.float().mean()),
        }


def _columns(X: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(X).T.contiguous()
