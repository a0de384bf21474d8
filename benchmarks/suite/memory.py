"""Peak memory of training, as a ratio to the bytes of X, Y, V and U."""

from __future__ import annotations

import sys

import numpy as np

import fastbcd
from fastbcd import Problem, ThreeSplitting

from .iteration import random_classes
from .measure import figures_of, peak_bytes


def peak_ratio(widths: tuple[int, ...], n: int, acceleration: str = "none") -> tuple[float, float]:
    """Ratios of a new process that trains: its whole peak, and the part that training added."""
    whole, added = figures_of("suite.memory", acceleration, str(n), *map(str, widths))
    return whole, added


def _main() -> None:
    n, *widths = map(int, sys.argv[2:])
    acceleration = None if sys.argv[1] == "none" else sys.argv[1]
    solver = ThreeSplitting(Problem(widths, reduction="sum"), alpha=5.0, acceleration=acceleration)
    fastbcd.warmup(solver)
    before = peak_bytes()
    X = np.empty((n, widths[0]), np.float32)
    Y = np.zeros((n, widths[-1]), np.float32)
    for start in range(0, n, 5000):
        X[start : start + 5000], Y[start : start + 5000] = random_classes(
            tuple(widths), len(X[start : start + 5000])
        )
    state = solver.init(X, Y, init="normal:0.01", bias=0.1)
    for _ in range(2):
        solver.step(state)
    solver.objective(state)
    size = sum(array.nbytes for array in (Y, *state.V, *state.U[1:]))
    print(peak_bytes() / size, (peak_bytes() - before) / size)


if __name__ == "__main__":
    _main()
