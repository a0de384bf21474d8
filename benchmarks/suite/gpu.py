"""The GPU's U-block and iteration; skipped where there is no GPU or no package for it."""

from __future__ import annotations

import numpy as np

from fastbcd import InputError, Problem, ThreeSplitting, kernels

from .extent import some
from .kernels import ACTIVATIONS

ROWS, WIDTH = 16_384, 1536


def solver_on_gpu(widths: tuple[int, ...]) -> ThreeSplitting:
    """A solver; asv skips a benchmark whose `setup` raises NotImplementedError."""
    try:
        return ThreeSplitting(Problem(widths), alpha=1e-3, device="cuda")
    except InputError as problem:
        raise NotImplementedError(str(problem)) from problem


class Preactivation:
    """The fused U-block reads U, V, B and writes U and ``U - B``: five arrays."""

    params = (some(ACTIVATIONS, "relu", "sigmoid"),)
    param_names = ("activation",)

    def setup(self, activation):
        self.device = solver_on_gpu((4, 4)).device
        rng = np.random.default_rng(0)
        arrays = (rng.standard_normal((ROWS, WIDTH), np.float32) for _ in range(3))
        self.U, self.V, self.B = (self.device.array(a, np.float32) for a in arrays)
        self.formula = kernels.ACTIVATIONS[activation]()
        self.time_update(activation)

    def time_update(self, activation):
        with self.device.session():  # waits for the GPU when it ends
            self.device.kernels.update_preactivation(
                self.U, self.formula, self.V, None, self.B, 1.0, 1.0, 1e-3, None
            )


class Iteration:
    """One iteration of 784-1500x3-10 on 20,000 samples, and where the objective is after three."""

    timeout = 300

    def setup(self):
        self.solver = solver_on_gpu((784, 1500, 1500, 1500, 10))
        rng = np.random.default_rng(0)
        X = rng.random((20_000, 784), np.float32)
        Y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, len(X))]
        self.state = self.solver.init(X, Y)
        for _ in range(3):
            self.solver.step(self.state)

    def time_step(self):
        self.solver.step(self.state)

    def track_objective(self):
        return self.solver.objective(self.state)
