"""Solvers on several ranks with a GPU each: the device is in the simulator, MPI is real."""

import json
import os

import needs_simulator  # noqa: F401 - skips this module without it
import pytest
from mpi import program, run_ranks

SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from mpi4py import MPI
import simulator
from host_library import SimulatedCUDA
from fastbcd import Problem, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.training.descent_log import DescentLog
comm = MPI.COMM_WORLD
rng = np.random.default_rng(1)
X, Y = rng.standard_normal((5, 4)), one_hot(rng.integers(0, 3, 5), 3)
rows = slice(0, 3) if comm.rank == 0 else slice(3, 5)
report = {}
CASES = {
    "three-splitting": (ThreeSplitting, {"residual": True}, None, 1),
    "two-splitting": (TwoSplitting, {"activation": "tanh"}, None, 1),
    "accelerated": (ThreeSplitting, {"residual": True}, "nesterov", 2),
}
for name, (kind, options, acceleration, n_steps) in CASES.items():
    problem, numbers, weights = Problem((4, 3, 3, 3), **options), [], []
    settings = {"n_threads": 1, "acceleration": acceleration}
    alone, spread = kind(problem, **settings), kind(problem, comm=comm, **settings)
    spread.device = SimulatedCUDA(1, None, spread.device.ranks)
    for solver, part in ((alone, slice(None)), (spread, rows)):
        state = solver.init(X[part], Y[part], seed=2)
        state.descent_log = DescentLog()
        for _ in range(n_steps):
            solver.step(state)
        numbers.append([*solver.objective_and_violation(state), state.descent_log.squared_step,
                        state.descent_log.decrease, solver.squared_subgradient(state)])
        weights.append([solver.device.numpy(W) for W in state.weights])
    known = None if acceleration is None else state.momentum.objective
    report[name] = {
        "numbers": [[float(x) for x in row] for row in numbers],
        "error": max(float(abs(a - b).max() / abs(a).max()) for a, b in zip(*weights)),
        "same": all(len({w.tobytes() for w in comm.allgather(W)}) == 1 for W in weights[1])
        and len(set(comm.allgather(known))) == 1,
    }
if comm.rank == 0:
    print(json.dumps(report))
"""


def test_two_gpus_do_what_one_processor_does():
    out, _ = run_ranks(2, *program(SCRIPT), os.path.dirname(__file__), timeout=240)
    for name, found in json.loads(out).items():
        assert found["same"], name
        assert found["error"] < 2e-4, (name, found)
        alone, spread = found["numbers"]
        assert spread == pytest.approx(alone, rel=1e-2, abs=1e-6), name
