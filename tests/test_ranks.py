"""Samples spread over MPI ranks give the weights of one process, on all ranks."""

import json
import time

import numpy as np
import pytest
from mpi import program, run_ranks
from rank_threads import on_ranks

from fastbcd.devices.ranks import SingleProcess, collective_errors, get_ranks, on_root
from fastbcd.errors import InputError

COMMON = """
import json, os
import numpy as np
from mpi4py import MPI
from fastbcd import Problem, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.callbacks import Certify, Objective
from fastbcd.devices.ranks import get_ranks
comm = MPI.COMM_WORLD
rng = np.random.default_rng(3)
n = 403
X, Y = rng.standard_normal((n, 9)), one_hot(rng.integers(0, 4, n), 4)
X[:, 3] = 0.0  # the Gram matrix is singular
"""

SAME_WEIGHTS = """
CASES = {
    "three-splitting": (ThreeSplitting, {}, {}),
    "resnet": (ThreeSplitting, {"residual": True, "loss": "cross_entropy", "rho": 3.0}, {}),
    "two-splitting": (TwoSplitting, {"activation": "tanh"}, {"inner_steps": 2}),
    "lasso": (ThreeSplitting, {"weight_penalty": "l1:1e-3"}, {}),
    "accelerated": (ThreeSplitting, {"residual": True}, {"acceleration": "nesterov"}),
    "two-splitting, accelerated": (TwoSplitting, {}, {"acceleration": "nesterov"}),
}
report = {}
for name, (kind, options, more) in CASES.items():
    problem = Problem((9, 12, 12, 4), **options)
    for dtype in ("float32", "float64"):
        def fit(solver, rows):
            callbacks = [Objective(), Certify(5)]
            return solver.fit(X[rows], Y[rows], max_iter=20, callbacks=callbacks)
        # Three tiles: of four ranks the first has none.
        settings = dict(dtype=dtype, tile_rows=150, n_threads=1, **more)
        alone = fit(kind(problem, **settings), slice(None))
        solver = kind(problem, comm=comm, **settings)
        cuts = np.linspace(0, n, comm.size, dtype=int)  # the last rank has no sample
        uneven = slice(cuts[comm.rank], cuts[min(comm.rank + 1, comm.size - 1)])
        for shares, rows in {"tiles": solver.rows(n), "uneven": uneven}.items():
            if comm.size == 1:
                rows = slice(None)
            result = fit(solver, rows)
            pairs = list(zip(result.state.weights, alone.state.weights, strict=True))
            same = [len({W.tobytes() for W in comm.allgather(W)}) == 1 for W, _ in pairs]
            last, expected = result.history[-1], alone.history[-1]
            promises = [c.certificate.as_dict() for c in (result, alone)]
            report[f"{name} {dtype} {shares}"] = {
                "samples": comm.allgather(len(X[rows])),
                "same on all": all(same),
                "error": max(float(np.linalg.norm(W - V) / np.linalg.norm(V)) for W, V in pairs),
                "objective": abs(last["objective"] / expected["objective"] - 1),
                "gap": abs(last["constraint_gap"] / expected["constraint_gap"] - 1),
                "numbers": [{k: v for k, v in p.items() if isinstance(v, float)} for p in promises],
            }
if comm.rank == 0:
    print(json.dumps(report))
"""


@pytest.mark.parametrize("n_ranks", [1, 2, pytest.param(4, marks=pytest.mark.soak)])
def test_weights_are_those_of_one_process(n_ranks):
    out, _ = run_ranks(n_ranks, *program(COMMON + SAME_WEIGHTS))
    report = json.loads(out)
    assert len(report) == 24
    for case, found in report.items():
        assert found["same on all"], case
        assert sum(found["samples"]) == 403, case
        if n_ranks == 1 or ("float32" in case and "tiles" in case):
            assert found["error"] == 0.0, (case, found)
        elif "float64" in case:
            assert found["error"] < 1e-10, (case, found)
            assert found["objective"] < 1e-10, (case, found)
            ours, expected = found["numbers"]
            for name, value in ours.items():
                assert value == pytest.approx(expected[name], rel=1e-6, abs=1e-12), (case, name)
        assert found["gap"] < 1e-3, (case, found)
    if n_ranks == 4:
        assert report["resnet float64 uneven"]["samples"][-1] == 0
        assert report["resnet float32 tiles"]["samples"] == [0, 150, 150, 103]


def test_an_error_on_one_rank_is_an_error_on_all():
    out, _ = run_ranks(
        3,
        *program(
            COMMON
            + """
def told(action):
    try:
        action()
        text = "nothing"
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
    return comm.allgather(text)

solver = ThreeSplitting(Problem((9, 5, 4)), comm=comm)
rows = solver.rows(n)
bad = X.copy()
if comm.rank == 2:
    bad[1, 1] = np.nan
from fastbcd.training.loop import Callback
class Fails(Callback):
    def on_iteration(self, solver, state, record):
        if comm.rank == 1:
            raise OSError("disk full")
class Stops(Callback):
    def on_iteration(self, solver, state, record):
        return comm.rank == 2 and record["iteration"] == 3
results = [
    told(lambda: solver.fit(bad, Y)),
    told(lambda: solver.fit(X[:0], Y[:0])),
    told(lambda: solver.fit(X, Y, max_iter=3, callbacks=[Fails()])),
    told(lambda: solver.fit(X[:, :8], Y)),
    comm.allgather(solver.fit(X, Y, callbacks=[Stops()]).state.iteration),
]
for _ in range(3000):  # MPICH has 2048 communicators
    many = ThreeSplitting(Problem((9, 5, 4)), comm=comm)
assert many.device.ranks is solver.device.ranks
for _ in range(800):
    part = comm.Dup()
    get_ranks(part)
    part.Free()
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[comm.rank % 2]})
results.append(comm.allgather(get_ranks(comm.Dup()).sharing_processors))
if comm.rank == 0:
    print(json.dumps(results))
"""
        ),
    )
    nan, empty, disk, width, stopped, sharing = json.loads(out)
    assert set(nan) == {"InputError: rank 2: X must be finite, but row 1, column 1 is nan"}
    assert set(empty) == {"InputError: X must have at least one sample on some rank"}
    assert set(disk) == {"OSError: rank 1: disk full"}
    assert set(width) == {"InputError: X has 8 features, but the network's first width is 9"}
    assert stopped == [3, 3, 3]
    assert sharing == [2, 1, 2], "two of three ranks on one processor, one on another"


def test_what_interrupts_the_first_rank_is_told_to_the_others():
    def interrupted():
        raise KeyboardInterrupt

    def work(ranks):
        try:
            on_root(ranks, interrupted)
        except BaseException as error:
            return type(error).__name__, str(error), ranks.gather(ranks.rank)
        return None

    first, *others = on_ranks(3, work)
    assert first == ("KeyboardInterrupt", "", [0, 1, 2])
    assert others == [("RuntimeError", "KeyboardInterrupt: ", [0, 1, 2])] * 2


def test_one_process_is_alone():
    ranks = get_ranks(None)
    assert isinstance(ranks, SingleProcess)
    array = np.arange(3.0)
    ranks.sum(array)
    ranks.max(array)
    ranks.share_rows(array)
    assert array.tolist() == [0, 1, 2]
    assert ranks.gather("x") == ["x"]
    assert ranks.rows(7, unit=3) == slice(0, 7)
    with (
        pytest.raises(ZeroDivisionError),
        collective_errors(ranks),
    ):  # as it is, not as another rank's
        _ = 1 / 0


def test_what_is_no_communicator_is_refused():
    pytest.importorskip("mpi4py")
    with pytest.raises(InputError, match="comm must be an mpi4py"):
        get_ranks("world")


def test_a_rank_that_fails_while_others_wait_for_it_in_a_sum_ends_the_job():
    start = time.monotonic()
    _, err = run_ranks(
        3,
        "-c",
        COMMON
        + """
from fastbcd.solvers.blocks import LayerBlocks
solver = ThreeSplitting(Problem((9, 5, 4)), comm=comm)
if comm.rank == 1:
    def fails(*arguments):
        raise MemoryError("no room on this machine")
    LayerBlocks.update_output_states = fails
solver.fit(X, Y)
""",
        status="any error",
        timeout=60,
    )
    assert "rank 1: no room on this machine" in err
    assert time.monotonic() - start < 40
