"""Mini-batches with samples spread over ranks learn the same as one process, to rounding."""

import json

import pytest
from mpi import program, run_ranks

FITS = """
import json
import numpy as np
from mpi4py import MPI
from fastbcd import MiniBatchThreeSplitting, Problem, one_hot
from fastbcd.callbacks import BatchLoss, Objective
comm = MPI.COMM_WORLD
rng = np.random.default_rng(3)
n = 211
X, Y = rng.standard_normal((n, 9)), one_hot(rng.integers(0, 4, n), 4)
CASES = {
    "plain": ({"weight_penalty": "l1:1e-3"}, {"batch_size": 30}),
    "residual": ({"residual": True, "loss": "cross_entropy"}, {"batch_size": 30}),
    # The change of the outputs is measured on every sixth sample of the batch of all ranks.
    "output": ({}, {"batch_size": n, "step_unit": "output"}),
    "spectral": ({}, {"batch_size": 30, "step_unit": "spectral"}),
    "output metric": ({}, {"batch_size": 30, "output_rank": 3}),
    "nesterov": ({}, {"batch_size": 30, "nesterov": True}),
}
report = {}
for name, (of_problem, options) in CASES.items():
    problem = Problem((9, 12, 12, 4), **of_problem)
    def fit(rows, **more):
        options_here = {**options, "dtype": "float64", "n_threads": 1, **more}
        solver = MiniBatchThreeSplitting(problem, **options_here)
        callbacks = [BatchLoss(), Objective()]
        return solver.fit(X[rows], Y[rows], max_iter=4, callbacks=callbacks)
    alone = fit(slice(None))
    # The last rank has three samples, and most batches none of them.
    cuts = [0, *np.linspace(0, n - 3, comm.size, dtype=int)[1:], n]
    spread = fit(slice(cuts[comm.rank], cuts[comm.rank + 1]), comm=comm)
    pairs = list(zip(spread.state.weights, alone.state.weights))
    report[name] = {
        "error": max(float(np.linalg.norm(W - V) / np.linalg.norm(V)) for W, V in pairs),
        "same on all": all(len({W.tobytes() for W in comm.allgather(W)}) == 1 for W, _ in pairs),
        "history": [[row[key] for row in r.history for key in ("batch_loss", "objective")]
                    for r in (spread, alone)],
    }
"""
SCRIPT = (
    FITS
    + """
solver = MiniBatchThreeSplitting(problem, 30, comm=comm)
texts = []
for action in (lambda: solver.init(X, Y, sample_weight=np.arange(n)),
               lambda: solver.init(X[:0], Y[:0])):
    try:
        action()
    except ValueError as error:
        texts.append(str(error))
# A stream: each rank with its part of the batch.
state = solver.init(X, Y)
part = slice(0, 0) if comm.rank == comm.size - 1 else slice(0, 20)
solver.partial_fit(state, X[part], Y[part])
report["stream"] = len({state.W[1].tobytes() for state in comm.allgather(state)}) == 1
if comm.rank == 0:
    print(json.dumps([report, texts]))
"""
)


def test_ranks_learn_what_one_process_does():
    run_ranks(1, *program(FITS), timeout=240)  # compiles: three ranks at once would all do it
    out, _ = run_ranks(3, *program(SCRIPT), timeout=240)
    report, texts = json.loads(out)
    assert report.pop("stream")
    for name, found in report.items():
        assert found["same on all"], name
        assert found["error"] < 1e-9, (name, found)
        ours, expected = found["history"]
        assert ours == pytest.approx(expected, rel=1e-9), name
    assert texts == [
        "sample_weight is for one process; leave it out, or comm",
        "X must have at least one sample on some rank",
    ]
