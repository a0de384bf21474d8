"""A trial of every algorithm on the GPU: ``fastbcd info`` says which kernels compile and run."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.layers import AveragePool2d, Conv2d, Dense, MaxPool2d
from fastbcd.problem import Problem
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.solvers.three_splitting import ThreeSplitting
from fastbcd.solvers.two_splitting import TwoSplitting
from fastbcd.training.descent_log import DescentLog


def try_kernels() -> str:
    """Train small networks on the GPU; return the names of the kernels that ran, or the error."""
    from fastbcd.kernels.cuda import target

    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((40, 6)), np.eye(3)[rng.integers(0, 3, 40)]
    launched: list[str] = []
    target.launched = launched
    try:
        for penalty in ("none", "l1:1e-3"):
            problem = Problem((6, 8, 8, 3), residual=True, weight_penalty=penalty, loss="hinge")
            solver = ThreeSplitting(problem, device="cuda")
            state = solver.init(X, Y)
            state.descent_log = DescentLog()
            solver.squared_subgradient(solver.step(state))
            solver.objective(state)
        penalised = Problem((6, 8, 3), state_penalty="nonnegative", loss="logistic_ovr")
        ThreeSplitting(penalised, alpha=1.0, loss_update="prox-linear", device="cuda").fit(X, Y, 1)
        TwoSplitting(Problem((6, 8, 3), activation="tanh"), device="cuda").fit(X, Y, 1)
        problem = Problem((6, 8, 3), loss="cross_entropy", weight_penalty="l1:1e-3")
        MiniBatchThreeSplitting(problem, batch_size=20, rank=2, device="cuda").fit(X, Y, 2)
        for penalty in ("none", "nonnegative"):
            ThreeSplitting(_images(state_penalty=penalty), device="cuda").fit(X, Y, 1)
        MiniBatchThreeSplitting(_images(), batch_size=20, rank=2, device="cuda").fit(X, Y, 2)
    except Exception as failure:
        last = launched[-1] if launched else "none"
        text = " ".join(str(failure).split())[:300]
        return f"{type(failure).__name__} at or after kernel {last}: {text}"
    finally:
        target.launched = None
    names = sorted(set(launched))
    return f"{len(names)} compile and run: {', '.join(names)}"


def _images(**options: Any) -> Problem:
    """Return a network that takes the six inputs as images of 3 x 2 pixels."""
    first = Conv2d((3, 2, 1), 2, 3, padding=1)
    most = MaxPool2d(first.image_out, (3, 1))
    second = Conv2d(most.image_out, 2, 1)
    mean = AveragePool2d(second.image_out, "global")
    layers = [first, most, second, mean, Dense(mean.d_out, 3)]
    return Problem((6, *(layer.d_out for layer in layers)), layers=layers, **options)
