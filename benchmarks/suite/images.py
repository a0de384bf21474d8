"""An iteration and a pass of networks of convolutions and pools: time, floor, memory, answers.

The floor is the sum of the network's own products as BLAS calls on ready matrices. Those of a
convolution have a row for each position of each image, and that row is there already: neither
patches nor pools cost anything.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

import fastbcd
from fastbcd import MiniBatchThreeSplitting, Problem, ThreeSplitting, one_hot
from fastbcd.layers import build_layers

from .extent import some
from .floor import Call, Floor
from .measure import figures_of, paired_ratio, peak_bytes

# Layers, shape of an image, number of images for an iteration and for a pass.
NETWORKS = {
    "grey": ("conv:8:5,maxpool:2,conv:16:5,maxpool:2,dense:64", (28, 28, 1), 1000, 2000),
    "residual": (
        "conv:16:3:1:1,maxpool:2,conv:16:3:1:1,conv:32:3:2:1,averagepool:global",
        *((32, 32, 3), 500, 1000),
    ),
    "for MNIST": ("conv:32:5,maxpool:2,conv:64:5,maxpool:2,dense:256", (28, 28, 1), 300, 1000),
    "for CIFAR-10": (
        "conv:32:3:1:1,maxpool:2,conv:64:3:1:1,maxpool:2,conv:128:3:1:1,maxpool:2,dense:256",
        *((32, 32, 3), 200, 1000),
    ),
}
BATCH_SIZE = 100


def problem_of(network: str, **settings: Any) -> Problem:
    """The `Problem` of a network."""
    text, shape, _, _ = NETWORKS[network]
    layers = build_layers(text, shape, 10)
    return Problem(layers=layers, residual=network == "residual", **settings)


def random_images(network: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, H W C) of ten classes, random prototypes with noise, and one-hot targets."""
    rng, d = np.random.default_rng(0), int(np.prod(NETWORKS[network][1]))
    labels, prototypes = rng.integers(10, size=n), rng.random((10, d), np.float32)
    return (prototypes[labels] + rng.random((n, d), np.float32)) / 2, one_hot(labels, 10)


def iteration_calls(layers: Sequence[Any], n: int) -> Counter[Call]:
    """How often each call is needed in one iteration of Algorithm 2 or 3 after the first.

    A W of (d, p + 1) makes d numbers in each of some rows from p numbers. The V-block below a
    dense layer has two products, and that below a convolution two for the first slope and two for
    each of its steps.
    """
    calls: Counter[Call] = Counter()
    for l, layer in enumerate(layer for layer in layers if layer.has_weights):
        d, p = layer.weight_shape[0], layer.weight_shape[1] - 1
        rows, steps = n * layer.d_out // d, getattr(layer, "steps", 0)
        calls["A B^T", rows, p, d] += 1
        calls["A^T B", rows, d, p] += 1
        calls["solve", p + 1, d, 0] += 1
        if l > 0:
            calls["A B^T", rows, p, d] += 1 + steps
            calls["A B", rows, d, p] += 1 + steps
            calls["A^T A", rows, p, 0] += 1
            calls["factor", p + 1, 0, 0] += 1
            calls["operator", min(p, d), max(p, d), 0] += not steps
    return calls


def batch_calls(layers: Sequence[Any], m: int) -> Counter[Call]:
    """How often each call is needed for a batch of m samples; see `floor.mini_batch_calls`."""
    calls: Counter[Call] = Counter()
    for l, layer in enumerate(layer for layer in layers if layer.has_weights):
        d, p = layer.weight_shape[0], layer.weight_shape[1] - 1
        rows = m * layer.d_out // d
        calls["A B^T", rows, p, d] += 1
        calls["A^T B", rows, d, p] += 1
        if l > 0:
            calls["A B", rows, d, p] += 1
    return calls


class _OnImages:
    """The common part of the benchmarks: a `solver`, its `state`, and the calls of a step."""

    params = (some(list(NETWORKS), "residual"),)
    param_names = ("network",)
    timeout = 600
    number, repeat, warmup_time = 1, 5, 0

    def time_step(self, network):
        self.solver.step(self.state)

    def peakmem_step(self, network):
        self.solver.step(self.state)

    def track_ratio_to_floor(self, network):
        return paired_ratio(lambda: self.solver.step(self.state), self.floor())

    track_ratio_to_floor.unit = "sum of its products as BLAS calls"


class ImageIteration(_OnImages):
    """`ThreeSplitting.step`."""

    def setup(self, network):
        self.n = NETWORKS[network][2]
        self.solver = ThreeSplitting(problem_of(network))
        self.state = self.solver.init(*random_images(network, self.n))
        self.solver.step(self.state)

    def floor(self):
        return Floor(iteration_calls(self.solver.problem.layers, self.n)).seconds

    def track_objective_after_three_iterations(self, network):
        for _ in range(2):
            self.solver.step(self.state)
        return self.solver.objective(self.state)


class ImagePass(_OnImages):
    """`MiniBatchThreeSplitting.step`, batches of 100."""

    def setup(self, network):
        problem = problem_of(network, loss="cross_entropy")
        self.n = NETWORKS[network][3]
        self.solver = MiniBatchThreeSplitting(problem, batch_size=BATCH_SIZE, schedule="constant")
        self.state = self.solver.step(self.solver.init(*random_images(network, self.n)))

    def floor(self):
        floor = Floor(batch_calls(self.solver.problem.layers, BATCH_SIZE), loops=3)
        return lambda: self.n // BATCH_SIZE * floor.seconds()

    def track_objective_after_two_passes(self, network):
        self.solver.step(self.state)
        return self.solver.objective(self.state)


def peak_ratio(network: str, acceleration: str) -> float:
    """What two iterations of a new process add to its peak memory / bytes of X, Y, V and U."""
    (ratio,) = figures_of("suite.images", network, acceleration)
    return ratio


def _main() -> None:
    network, acceleration = sys.argv[1:]
    problem = problem_of(network)
    chosen = None if acceleration == "none" else acceleration
    solver = ThreeSplitting(problem, acceleration=chosen)
    fastbcd.warmup(solver)
    before = peak_bytes()
    X, Y = random_images(network, 100_000_000 // sum(problem.widths))
    state = solver.init(X, Y)
    for _ in range(2):
        solver.step(state)
    states = (*state.V, *state.U)
    size = sum(array.nbytes for array in (Y, *states) if array is not None)
    print((peak_bytes() - before) / size)


if __name__ == "__main__":
    _main()
