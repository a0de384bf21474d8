"""One iteration of Algorithm 2: time, peak memory, and where it gets the objective."""

from __future__ import annotations

import numpy as np

from fastbcd import Problem, ThreeSplitting, one_hot

NETWORKS = {
    "64-512-512-10": ((64, 512, 512, 10), 1437),
    "784-600x10-10": ((784, *[600] * 10, 10), 4096),
    "784-1500x3-10": ((784, 1500, 1500, 1500, 10), 4096),
}


class Iteration:
    """`ThreeSplitting.step` on random data."""

    params = (list(NETWORKS), ["float32", "float64"])
    param_names = ("network", "dtype")
    timeout = 300
    number, repeat, warmup_time = 1, 5, 0

    def setup(self, network, dtype):
        widths, n = NETWORKS[network]
        rng = np.random.default_rng(0)
        X = rng.random((n, widths[0]))
        Y = one_hot(rng.integers(widths[-1], size=n), widths[-1])
        self.solver = ThreeSplitting(Problem(widths, reduction="sum"), alpha=1.0, dtype=dtype)
        self.state = self.solver.step(self.solver.init(X, Y, seed=0))

    def time_step(self, network, dtype):
        self.solver.step(self.state)

    def peakmem_step(self, network, dtype):
        self.solver.step(self.state)

    def track_objective_after_three_iterations(self, network, dtype):
        for _ in range(2):
            self.solver.step(self.state)
        return self.solver.objective(self.state)


class Import:
    """Start-up of a process."""

    def timeraw_import(self):
        return "import fastbcd"
