"""How time grows: per sample, per layer and per flop, each as a ratio of one run (1: linear)."""

from __future__ import annotations

import numpy as np

from fastbcd import Problem, ThreeSplitting

from .extent import some
from .floor import irreducible_calls, product_flops
from .iteration import random_classes
from .measure import seconds

ROUNDS = 3


def relative_cost(
    small: tuple[tuple[int, ...], int], large: tuple[tuple[int, ...], int], rounds: int = ROUNDS
) -> float:
    """Time of an iteration on `large` over that on `small`, each divided by its flops.

    ``(widths, n)`` each; the median over rounds that take turns.
    """
    steppers = []
    for widths, n in (small, large):
        solver = ThreeSplitting(Problem(widths, reduction="sum"), alpha=5.0)
        state = solver.init(*random_classes(widths, n), init="normal:0.01", bias=0.1)
        solver.step(state)
        steppers.append((solver, state, product_flops(irreducible_calls(widths, n))))
    ratios = []
    for _ in range(rounds):
        first, second = (
            seconds(lambda solver=solver, state=state: solver.step(state), 1) / flops
            for solver, state, flops in steppers
        )
        ratios.append(second / first)
    return float(np.median(ratios))


def hidden(width: int, depth: int) -> tuple[int, ...]:
    """Widths of a network with that many equal hidden layers."""
    return (width, *[width] * depth, 10)


# The small and the large problem: widths and number of samples.
PAIRS = {
    "samples 4000 to 16000": ((hidden(600, 3), 4000), (hidden(600, 3), 16_000)),
    "depth 5 to 20": ((hidden(300, 5), 8000), (hidden(300, 20), 8000)),
    "width 300 to 1200": ((hidden(300, 3), 8000), (hidden(1200, 3), 8000)),
}


class Growth:
    params = (some(list(PAIRS), "depth 5 to 20"),)
    param_names = ("of",)
    unit = "time per flop, relative"
    timeout = 600

    def track_relative_cost(self, of):
        return relative_cost(*PAIRS[of])
