"""This package: three-splitting in the published setting, two-splitting with its defaults."""

from __future__ import annotations

from typing import Any

import numpy as np
from libraries import blas_names
from mnist import Samples
from numpy.typing import NDArray

import fastbcd
from fastbcd import MiniBatchThreeSplitting, Problem, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.data.augmentation import Augmentation
from fastbcd.training.loop import network_of


class _Splitting:
    """One iteration is a pass; kernels are compiled in the constructor, before the clock runs."""

    def __init__(self, samples: Samples, solver: Any, **initial: Any) -> None:
        self.X, self.Y = samples.X, one_hot(samples.y, samples.n_classes)
        self.solver, self.initial = solver, initial
        self.threads, self.blas = solver.device.n_threads, blas_names()
        fastbcd.warmup(solver)

    def start(self) -> None:
        self.state = self.solver.init(self.X, self.Y, **self.initial)

    def one_pass(self) -> None:
        self.solver.step(self.state)

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        return np.argmax(network_of(self.solver, self.state).forward(X), axis=1)


class Three(_Splitting):
    """The paper's MNIST experiment: sums over samples, gamma 1, alpha 5, no penalty."""

    def __init__(self, samples: Samples, widths: tuple[int, ...]) -> None:
        solver = ThreeSplitting(Problem(widths, gamma=1.0, reduction="sum"), alpha=5.0)
        super().__init__(samples, solver, seed=40, init="normal:0.01", bias=0.1)


class Two(_Splitting):
    """``fastbcd train --algorithm two-splitting --acceleration none`` without further options."""

    def __init__(self, samples: Samples, widths: tuple[int, ...]) -> None:
        problem = Problem(widths, weight_penalty="ridge:3e-4")
        super().__init__(samples, TwoSplitting(problem, alpha=1e-3), seed=0, init="he")


class Mini(_Splitting):
    """``fastbcd train --batch-size M --epochs PASSES``; images are shifted by up to `crop`."""

    def __init__(
        self,
        samples: Samples,
        widths: tuple[int, ...],
        passes: int,
        seed: int = 0,
        batch: int = 500,
        crop: int = 0,
        **options: Any,
    ) -> None:
        if crop:
            options["augment"] = Augmentation(f"crop:{crop}", samples.image_shape)
        solver = MiniBatchThreeSplitting(Problem(widths), batch_size=batch, **options)
        super().__init__(samples, solver, seed=seed, passes=passes)
        self.passes = passes
