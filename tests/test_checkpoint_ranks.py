"""Checkpoints of several ranks: complete or absent, and good for any other number of ranks."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import endless_on_ranks as endless
import numpy as np
import pytest
from mpi import run_ranks, start_ranks
from rank_threads import on_ranks

from fastbcd import InputError, Problem, ThreeSplitting, one_hot
from fastbcd.checkpoints.checkpoint import read, write
from fastbcd.checkpoints.fingerprint import fingerprint
from fastbcd.checkpoints.shards import Samples, remove, write_shard
from fastbcd.devices.ranks import SINGLE_PROCESS
from fastbcd.files import checksummed
from fastbcd.solvers.state import State
from fastbcd.training.loop import Result

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 4)).astype(np.float32), one_hot(RNG.integers(2, size=40), 2)


def script(name):
    """Arguments that run a file of this folder; a rank that fails ends the others."""
    return "-m", "mpi4py", Path(__file__).with_name(name)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(1, *script("checkpoint_on_ranks.py"))
    return json.loads(run_ranks(4, *script("checkpoint_on_ranks.py"), folder)[0])


@pytest.mark.parametrize("name", ["three-splitting", "two-splitting", "float32"])
def test_four_two_one_and_three_ranks_in_turn_reach_the_uninterrupted_result(reports, name):
    report = reports[0][name]
    assert report["difference"] <= 1e-10
    assert report["objectives"] <= 1e-10
    if name == "float32":  # shares are whole tiles: sums in float64 are exact
        assert report["same_bits"]
    assert report["iterations"] == list(range(1, 10))
    assert report["seconds_grow"]
    # Those who go on remember what the first rank did.
    assert report["remembered"] == list(range(10))


def test_each_checkpoint_leaves_no_file_of_the_last_one(reports):
    index, folder = "c.safetensors", "c.safetensors.parts"

    def shards(number, ranks):
        return [index, folder, *(f"{folder}/{number}-{rank}.safetensors" for rank in ranks)]

    # A rank without samples has no shard; a process alone writes one file.
    expected = [shards(0, [0, 2, 3]), shards(1, [0, 1]), [index], [index]]
    assert reports[0]["three-splitting"]["files"] == expected


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("full disk of a shard", "rank 2: .*1-2.safetensors cannot be written: .* is untouched"),
        ("full disk of the index", "/c.safetensors cannot be written: .* is untouched"),
        ("other data", "X or Y are not the same data"),
        ("other solver", "rank 1: .* alpha was 0.001 there, and is 0.5 here"),
        ("damaged shard", "rank 3: .*0-3.safetensors is damaged"),
        ("missing shard", "rank 3: .*0-3.safetensors does not exist"),
    ],
)
def test_what_fails_on_one_rank_fails_on_all_with_its_words(reports, what, sentence):
    said = reports[1][what]
    assert len(said) == 4
    assert len(set(said)) == 1
    with pytest.raises(InputError, match=sentence):
        raise InputError(said[0])


@pytest.mark.parametrize("what", ["full disk of a shard", "full disk of the index"])
def test_the_last_checkpoint_survives_a_full_disk_without_leftovers(reports, what):
    folder = "c.safetensors.parts"
    expected = ["c.safetensors", folder, *(f"{folder}/0-{k}.safetensors" for k in (0, 2, 3))]
    assert reports[1][f"{what}: files"] == expected
    assert reports[1][f"{what}: resumed"] == reports[1]["objective"]


def new_solver(ranks=SINGLE_PROCESS):
    solver = ThreeSplitting(Problem((4, 5, 2)), n_threads=1)
    solver.device.ranks = ranks
    return solver


def states_of(whole, ends):
    """`whole` cut into shares, one a rank."""
    for start, stop in itertools.pairwise([0, *ends]):
        V, U = ([None if A is None else A[start:stop] for A in part] for part in (whole.V, whole.U))
        yield State(whole.W, V, U, whole.Y[start:stop], whole.iteration, n_total=whole.n)


def save(path, whole, ends=(40,)):
    """A checkpoint of `whole`, its samples spread over ranks that end at `ends`."""
    states = list(states_of(whole, ends))
    data = fingerprint(new_solver().device, whole)

    def body(ranks):
        state = states[ranks.rank]
        write(path, new_solver(ranks), state, data, 9, Result(state, None))

    assert on_ranks(len(ends), body) == [None] * len(ends)


def steps(k):
    """States after 1, ..., k iterations."""
    solver = new_solver()
    state = solver.init(X, Y, seed=1)
    for _ in range(k):
        solver.step(state)
        yield State(
            [None, *(W.copy() for W in state.weights)],
            [state.X, *(V.copy() for V in state.V[1:])],
            [None, *(U.copy() for U in state.U[1:])],
            *(state.Y, state.iteration),
        )


def bits(state):
    return [A.tobytes() for A in (*state.W[1:], *state.V[1:], *state.U[1:])]


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("ends", [(13, 13, 40), (40,)], ids=["three ranks", "one process"])
def test_a_job_killed_at_any_moment_leaves_the_old_checkpoint_or_the_new_one(
    ends, tmp_path, monkeypatch
):
    """The folder as it is before and after every step that changes it, as a kill leaves it."""
    folder, snapshots, lock = tmp_path / "run", tmp_path / "snapshots", threading.RLock()
    folder.mkdir()
    path, count = folder / "c.safetensors", itertools.count()
    old, new, newer = steps(3)
    save(path, old, (20, 40))

    busy = []

    def snapshot():
        shutil.copytree(folder, snapshots / str(next(count)))

    def watched(function):
        def step(*arguments, **options):
            with lock:
                if busy:  # within another step, or making a snapshot
                    return function(*arguments, **options)
                busy.append(True)
                try:
                    snapshot()
                    result = function(*arguments, **options)
                    snapshot()
                    return result
                finally:
                    busy.clear()

        return step

    with monkeypatch.context() as patched:
        for name in ("replace", "rename", "unlink", "mkdir", "rmdir"):
            patched.setattr(Path, name, watched(getattr(Path, name)))
        for name in ("replace", "unlink", "mkdir", "rmdir", "fsync"):  # those of shutil, too
            patched.setattr(os, name, watched(getattr(os, name)))
        save(path, new, ends)
    found = []
    for snapshot in sorted(snapshots.iterdir(), key=lambda p: int(p.name)):
        solver, index = new_solver(), snapshot / "c.safetensors"
        state = read(index).restore(solver, X, Y)
        found.append(state.iteration)
        assert bits(state) == bits({1: old, 2: new}[state.iteration])
        # Nothing of the killed job is left after the next write, on whatever ranks.
        if int(snapshot.name) % 3 == 0:
            save(index, newer, (1, 40))
            shards = [f"{index.name}.parts/{p['file']}" for p in read(index).metadata["parts"]]
            assert contents(snapshot) == sorted([index.name, f"{index.name}.parts", *shards])
    assert found == sorted(found)
    assert {found[0], found[-1]} == {1, 2}
    assert len(found) >= 15


def test_a_rank_reads_any_rows_from_whatever_shards_they_lie_in(tmp_path, monkeypatch):
    monkeypatch.setattr(checksummed, "CHUNK", 3 * 8)  # blocks of three rows
    index, A = tmp_path / "c.safetensors", RNG.standard_normal((17, 2)).astype(np.float32)
    shards = [
        write_shard(index, 0, rank, rows, {"A": A[slice(*rows)]})
        for rank, rows in enumerate(itertools.pairwise([0, 1, 6, 13, 17]))
    ]
    for start, stop in itertools.combinations_with_replacement(range(18), 2):
        rows = np.full((stop - start, 2), np.nan, np.float32)
        with Samples(index, shards, start, stop, SINGLE_PROCESS) as samples:
            for place, block in samples.blocks("A"):
                assert len(block) <= 3
                rows[place] = block
        np.testing.assert_array_equal(rows, A[start:stop])


def test_a_shard_of_another_checkpoint_is_refused(tmp_path):
    path, states = tmp_path / "c.safetensors", list(steps(2))
    save(path, states[0], (20, 40))
    other = (tmp_path / "c.safetensors.parts" / "0-1.safetensors").read_bytes()
    save(path, states[1], (20, 40))
    (tmp_path / "c.safetensors.parts" / "1-1.safetensors").write_bytes(other)
    with pytest.raises(InputError, match="1-1.safetensors is not the shard that .* names"):
        read(path).restore(new_solver(), X, Y)


def test_the_end_of_a_run_removes_all_of_its_checkpoint(tmp_path):
    path = tmp_path / "c.safetensors"
    save(path, next(steps(1)), (20, 40))
    (tmp_path / "c.safetensors.parts" / "1-0.safetensors.partial").mkdir()
    (tmp_path / "c.safetensors.partial").mkdir()
    remove(path)
    assert contents(tmp_path) == []


@pytest.mark.soak
def test_a_rank_killed_while_checkpoints_are_written_leaves_one_to_go_on_from(tmp_path):
    rng, path = np.random.default_rng(), tmp_path / "c.safetensors"
    solver = endless.make()
    data = endless.data()
    expected, ranks, caught = solver.init(*data, seed=3), itertools.cycle([4, 2, 3]), 0
    iterations = [0]
    for n_ranks in itertools.islice(ranks, 10):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = start_ranks(n_ranks, *script("endless_on_ranks.py"), tmp_path)
        try:
            limit = time.monotonic() + 60
            while not path.exists() or path.stat().st_mtime_ns == before:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < limit
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.5))
            pids = [int((tmp_path / f"pid-{rank}").read_text()) for rank in range(n_ranks)]
            os.kill(pids[rng.integers(n_ranks)], signal.SIGKILL)
            process.communicate(timeout=10)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode != 0
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        caught += any(tmp_path.rglob("*.partial"))
        state = read(path).restore(endless.make(), *data)
        assert state.iteration > iterations[-1]
        iterations.append(state.iteration)
        while expected.iteration < state.iteration:
            solver.step(expected)
        assert bits(state) == bits(expected)
    # Some of them were caught in the middle of writing.
    assert caught >= 2, iterations
