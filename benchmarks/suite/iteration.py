"""One iteration of Algorithm 2 and one pass of mini-batches: time, floor, memory, answers."""

from __future__ import annotations

import numpy as np

from fastbcd import InputError, MiniBatchThreeSplitting, Problem, ThreeSplitting, one_hot

from .extent import DEVICES, some
from .floor import Floor, irreducible_calls, mini_batch_calls
from .measure import paired_ratio

NETWORKS = {
    "64-512-512-10": ((64, 512, 512, 10), 1437),
    "784-600x10-10": ((784, *[600] * 10, 10), 6_000),
    "784-1500x3-10": ((784, 1500, 1500, 1500, 10), 6_000),
}
FEW = ("64-512-512-10", "784-600x10-10")


def random_classes(widths: tuple[int, ...], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and one-hot targets of classes that a network can learn: random prototypes, noisy."""
    rng = np.random.default_rng(0)
    labels = rng.integers(widths[-1], size=n)
    prototypes = rng.random((widths[-1], widths[0]), np.float32)
    X = prototypes[labels] + rng.random((n, widths[0]), np.float32)
    return X / 2, one_hot(labels, widths[-1])


class Iteration:
    """`ThreeSplitting.step`, published setting."""

    params = (some(list(NETWORKS), *FEW), some(["float32", "float64"], "float32"), DEVICES)
    param_names = ("network", "dtype", "device")
    timeout = 600
    number, repeat, warmup_time = 1, 5, 0

    def setup(self, network, dtype, device):
        widths, n = NETWORKS[network]
        problem = Problem(widths, reduction="sum")
        try:
            self.solver = ThreeSplitting(problem, alpha=5.0, dtype=dtype, device=device)
        except InputError as error:
            raise NotImplementedError(f"skipped: {error}") from error
        self.X, self.Y = random_classes(widths, n)
        self.state = self.solver.init(self.X, self.Y, seed=0, init="normal:0.01", bias=0.1)
        self.solver.step(self.state)

    def time_step(self, network, dtype, device):
        self.solver.step(self.state)

    def peakmem_step(self, network, dtype, device):
        self.solver.step(self.state)

    def track_ratio_to_floor(self, network, dtype, device):
        floor = Floor(irreducible_calls(*NETWORKS[network]), dtype)
        return paired_ratio(lambda: self.solver.step(self.state), floor.seconds, repeat=3)

    track_ratio_to_floor.unit = "sum of its BLAS calls"

    def track_objective_after_three_iterations(self, network, dtype, device):
        for _ in range(2):
            self.solver.step(self.state)
        return self.solver.objective(self.state)

    def track_train_accuracy_after_three_iterations(self, network, dtype, device):
        result = self.solver.fit(self.X, self.Y, max_iter=3, seed=0, init="normal:0.01", bias=0.1)
        predicted = result.network.forward(self.X).argmax(axis=1)
        return float((predicted == self.Y.argmax(axis=1)).mean())


class MiniBatchPass:
    """`MiniBatchThreeSplitting.step`, defaults, at several batch sizes."""

    params = (some(list(NETWORKS), *FEW), some([125, 500, 2000], 500), DEVICES)
    param_names = ("network", "batch_size", "device")
    timeout = 600
    number, repeat, warmup_time = 1, 5, 0

    def setup(self, network, batch_size, device):
        self.widths, n = NETWORKS[network]
        try:
            self.solver = MiniBatchThreeSplitting(
                Problem(self.widths), batch_size=batch_size, schedule="constant", device=device
            )
        except InputError as error:
            raise NotImplementedError(f"skipped: {error}") from error
        self.X, self.Y = random_classes(self.widths, n)
        self.state = self.solver.step(self.solver.init(self.X, self.Y))

    def time_step(self, network, batch_size, device):
        self.solver.step(self.state)

    def peakmem_step(self, network, batch_size, device):
        self.solver.step(self.state)

    def track_ratio_to_floor(self, network, batch_size, device):
        return ratio_of_pass(self.solver, self.state)

    track_ratio_to_floor.unit = "sum of its BLAS calls"

    def track_objective_after_two_passes(self, network, batch_size, device):
        self.solver.step(self.state)
        return self.solver.objective(self.state)


def ratio_of_pass(solver, state):
    """Time of a pass over the sum of its irreducible BLAS calls."""
    batches = -(-state.n // state.settings.batch_size)
    floor = Floor(mini_batch_calls(solver.problem.widths, state.n // batches), loops=10)
    return paired_ratio(lambda: solver.step(state), lambda: batches * floor.seconds(), repeat=3)
