"""Samples in mapped files: the same bits as in memory, bounded memory, nothing left behind."""

import ctypes
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from share import share

from fastbcd import (
    InputError,
    MiniBatchThreeSplitting,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    one_hot,
    resume,
)
from fastbcd.callbacks import Accuracy, Callback, Certify, Objective, SaveCheckpoint
from fastbcd.devices.storage import arrays as storage
from fastbcd.devices.storage.arrays import Disk, parse_bytes
from fastbcd.devices.storage.pages import Pages, pages_of

WIDTHS, N, ROWS = (23, 32, 32, 5), 1003, 64
PLENTY = "4GiB"

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are Linux's"),
    pytest.mark.filterwarnings("ignore:n_threads=:RuntimeWarning"),
]


@pytest.fixture
def folder(tmp_path):
    """On a disk, or the reason why not."""
    path = tmp_path / "samples"
    path.mkdir()
    kind = storage.file_system(path)
    if kind in storage.IN_MEMORY:
        pytest.skip(f"{path} is on {kind}: set TMPDIR to a disk")
    return path


def data(n=N, widths=WIDTHS, dtype=np.float32):
    rng = np.random.default_rng(0)
    return rng.random((n, widths[0])).astype(dtype), one_hot(rng.integers(0, 5, n), widths[-1])


def arrays_of(state):
    return [A for A in [*state.W, *state.V, *state.U, state.Y] if A is not None]


def fractions_in_memory(array):
    """Share of the pages of a mapped array that the system holds, whoever maps them."""
    pages = pages_of(array)
    start, length = pages._range(slice(0, len(array)))
    count = -(-length // 4096)
    flags = (ctypes.c_ubyte * count)()
    place = (ctypes.c_void_p(pages._address + start), ctypes.c_size_t(length))
    assert ctypes.CDLL(None).mincore(*place, flags) == 0
    return sum(flag & 1 for flag in flags) / count


CASES = {
    "three": (ThreeSplitting, {}, {}),
    "residual": (ThreeSplitting, {"residual": [False, True, False]}, {"dtype": "float64"}),
    "three, penalties": (
        ThreeSplitting,
        {"weight_penalty": "l1:0.001", "state_penalty": "l1:0.001"},
        {},
    ),
    "two": (TwoSplitting, {"activation": "sigmoid"}, {"inner_steps": 2}),
    "two, ridge": (TwoSplitting, {"state_penalty": "ridge:0.01"}, {"dtype": "float64"}),
    "prox-linear": (ThreeSplitting, {"loss": "cross_entropy"}, {"loss_update": "prox-linear"}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_algorithm_reaches_the_same_bits_as_in_memory(case, folder):
    kind, of_problem, options = CASES[case]
    X, Y = data()
    results = []
    for place in ({}, {"memory": PLENTY, "folder": folder, "n_threads": 1}, {"memory": PLENTY}):
        options = {"n_threads": 3, "alpha": 1.0, **options, **place}
        solver = kind(Problem(WIDTHS, **of_problem), tile_rows=ROWS, **options)
        callbacks = [Objective(), Certify(2), Accuracy("train", X, Y.argmax(1))]
        results.append(solver.fit(X, Y, max_iter=3, callbacks=callbacks))
        stored = [pages_of(A) is not None for A in arrays_of(results[-1].state)]
        W = len(WIDTHS) - 1
        assert not any(stored[:W])
        assert all(stored[W:]) if place else not any(stored)
    first, *others = results
    for other in others:
        for A, B in zip(arrays_of(first.state), arrays_of(other.state), strict=True):
            np.testing.assert_array_equal(A, B)
        for row, same in zip(first.history, other.history, strict=True):
            assert {**row, "seconds": 0} == {**same, "seconds": 0}


@pytest.mark.parametrize("kind", [ThreeSplitting, TwoSplitting])
def test_after_a_pass_next_to_nothing_of_the_samples_is_in_memory(kind, folder):
    X, Y = data(20_001)
    solver = kind(Problem(WIDTHS), memory=PLENTY, folder=folder, tile_rows=ROWS)
    state = solver.init(X, Y)
    passes = [solver.step, solver.objective, solver.squared_subgradient, solver.magnitude_bound]
    for go_through in passes:
        go_through(state)
        for array in arrays_of(state)[len(WIDTHS) - 1 :]:
            assert fractions_in_memory(array) < 0.1, go_through
    # Pages that are in memory are seen.
    assert state.X.sum() > 0
    assert fractions_in_memory(state.X) > 0.9


@pytest.mark.parametrize(
    ("dtype", "in_place"), [("float32", True), ("float64", False), ("uint8", False)]
)
def test_mapped_inputs_are_used_where_they_lie_if_they_fit(dtype, in_place, folder, tmp_path):
    X, Y = data()
    X = (200 * X).astype(dtype)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    solver = ThreeSplitting(Problem(WIDTHS), memory=PLENTY, folder=folder, tile_rows=ROWS)
    state = solver.step(solver.init(mapped, Y))
    assert np.shares_memory(state.X, mapped) == in_place
    np.testing.assert_array_equal(state.X, X.astype(np.float32))
    expected = ThreeSplitting(Problem(WIDTHS), tile_rows=ROWS)
    expected = expected.step(expected.init(X, Y))
    np.testing.assert_array_equal(state.W[1], expected.W[1])
    np.testing.assert_array_equal(np.load(tmp_path / "X.npy"), X)


def test_changes_of_a_copy_on_write_map_are_kept(folder, tmp_path):
    X, Y = data()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="c")
    mapped *= 2
    solver = ThreeSplitting(Problem(WIDTHS), memory=PLENTY, folder=folder)
    state = solver.init(mapped, Y)
    np.testing.assert_array_equal(state.X, 2 * X)
    np.testing.assert_array_equal(mapped, 2 * X)


def test_a_checkpoint_of_a_run_in_memory_goes_on_out_of_core(folder, tmp_path):
    X, Y = data()
    path = tmp_path / "checkpoint.safetensors"
    whole = ThreeSplitting(Problem(WIDTHS), tile_rows=ROWS).fit(X, Y, max_iter=4)

    class Stop(Callback):
        def on_iteration(self, solver, state, record):
            return record["iteration"] == 2

    half = ThreeSplitting(Problem(WIDTHS), tile_rows=ROWS)
    half.fit(X, Y, max_iter=4, callbacks=[SaveCheckpoint(path), Stop()])
    solver = ThreeSplitting(Problem(WIDTHS), tile_rows=ROWS, memory=PLENTY, folder=folder)
    result = resume(path, solver, X, Y, callbacks=[SaveCheckpoint(path)])
    assert pages_of(result.state.V[1]) is not None
    # Neither reading nor writing the checkpoint has left them in memory.
    assert fractions_in_memory(result.state.V[1]) < 0.2
    np.testing.assert_array_equal(result.state.W[2], whole.state.W[2])


def test_a_solver_keeps_its_budget_when_it_is_pickled(folder):
    solver = ThreeSplitting(Problem(WIDTHS), memory=PLENTY, folder=folder)
    again = pickle.loads(pickle.dumps(solver))
    assert isinstance(again.device.storage, Disk)
    assert vars(again.device.storage) == vars(solver.device.storage)


# -- bounds ----------------------------------------------------------------------------------------

PEAK = """
import sys
import numpy as np
from fastbcd import Problem, {kind}
from fastbcd.callbacks import Accuracy, Certify, Objective

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(x for x in lines if x.startswith("VmHWM")).split()[1])

def run(n):
    X = np.load("X.npy", mmap_mode="r")[:n]
    Y = np.load("Y.npy", mmap_mode="r")[:n]
    labels = np.zeros(n, np.uint8)
    solver = {kind}(Problem((64, 64, 64, 4)), memory="{memory}", folder=".", tile_rows=1024)
    state = solver.init(X, Y)
    size = sum(A.nbytes for A in [*state.V, *state.U, state.Y] if A is not None)
    solver.fit(X, Y, max_iter=2, callbacks=[Objective(), Certify(), Accuracy("all", X, labels)])
    return size

run(50_000)  # as many tiles in memory as there ever are
before = peak()
print(run({n}), before, peak())
"""


@pytest.mark.parametrize("kind", share(["ThreeSplitting", "TwoSplitting"], at_most=2))
def test_peak_memory_keeps_to_the_budget_and_does_not_grow_with_the_samples(kind, folder):
    n = 200_000
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (n, 64))
    X[:] = np.random.default_rng(0).random((64,), np.float32)
    X[::3] *= -1
    Y = np.lib.format.open_memmap(folder / "Y.npy", "w+", np.float32, (n, 4))
    Y[:] = 0
    Y[np.arange(n), np.arange(n) % 4] = 1
    program = PEAK.format(kind=kind, memory="900MiB", n=n)
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    size, before, after = map(int, process.stdout.split())
    assert size > 150e6
    assert after < 900 * 2**20
    assert after - before < 0.3 * size


def test_a_budget_that_is_too_small_says_the_least_that_does(folder):
    X, Y = data()
    with pytest.raises(InputError, match=r"^memory: 1 MiB are too few; at least \d+ MiB") as raised:
        ThreeSplitting(Problem(WIDTHS), memory="1MiB", folder=folder).init(X, Y)
    least = int(re.search(r"at least (\d+) MiB", str(raised.value)).group(1))
    # The process may have grown by a little since.
    state = ThreeSplitting(Problem(WIDTHS), memory=f"{least + 8}MiB", folder=folder).init(X, Y)
    assert state.n == N
    wide = ThreeSplitting(Problem((23, 2000, 5)), memory=f"{least + 8}MiB", folder=folder)
    with pytest.raises(InputError, match="at least"):
        wide.init(X, Y)


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_file_that_may_not_grow_so_large_is_one_clear_error(folder):
    X, Y = data()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    solver = ThreeSplitting(Problem(WIDTHS), memory=PLENTY, folder=folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(InputError, match=rf"^folder: {folder}: \d+ bytes are needed"):
            solver.init(X, Y)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_one_clear_error_and_gets_its_space_back(tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(InputError, match="in memory itself"):
            ThreeSplitting(Problem(WIDTHS), memory=PLENTY, folder=disk)
        monkeypatch.setattr(storage, "IN_MEMORY", ())
        solver = ThreeSplitting(Problem(WIDTHS), memory=PLENTY, folder=disk)
        needed = 4 * N * 2 * sum(WIDTHS[1:])
        free = os.statvfs(disk).f_bavail
        with pytest.raises(InputError, match=rf"{needed} bytes are needed.* are free"):
            solver.init(*data())
        assert list(disk.iterdir()) == []
        assert os.statvfs(disk).f_bavail == free
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("work", ["fetch", "write"])
def test_what_goes_wrong_beside_the_computation_is_raised_in_it(
    work, n_threads, folder, monkeypatch
):
    solver = ThreeSplitting(
        Problem(WIDTHS), memory=PLENTY, folder=folder, tile_rows=ROWS, n_threads=n_threads
    )
    state = solver.init(*data())
    calls = []

    def broken(self, rows):
        calls.append(rows)
        if len(calls) > 20:
            raise OSError("the disk is gone")

    monkeypatch.setattr(Pages, work, broken)
    with pytest.raises(OSError, match="the disk is gone"):
        solver.step(state)
    assert not [t for t in threading.enumerate() if t.name.startswith("fastbcd")]


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, ZeroDivisionError])
def test_an_exception_in_a_tile_ends_the_pass_and_its_threads(kind, n_threads, folder):
    solver = ThreeSplitting(
        Problem(WIDTHS), memory=PLENTY, folder=folder, tile_rows=ROWS, n_threads=n_threads
    )
    state = solver.init(*data())

    def body(tile):
        if tile.index == 7:
            raise kind
        tile.wait_for_turn()

    with pytest.raises(kind), solver.device.session():
        solver.device.for_each_tile(N, WIDTHS, solver.dtype, body, arrays=state.V)
    assert not [t for t in threading.enumerate() if t.name.startswith("fastbcd")]
    solver.step(state)


# As from a terminal, also where the tests run in the background of a script, with Ctrl-C ignored.
ENDLESS = """
import signal
import numpy as np
signal.signal(signal.SIGINT, signal.default_int_handler)
from fastbcd import Problem, ThreeSplitting
X = np.ones((2000, 8), np.float32)
solver = ThreeSplitting(Problem((8, 8, 2)), memory="4GiB", folder=".")
state = solver.step(solver.init(X, X[:, :2]))
print("started", flush=True)
while True:
    solver.step(state)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_is_interrupted_or_killed(number, folder):
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"started\n"
    held = [os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
    assert len([name for name in held if name.startswith(str(folder))]) >= 6  # X, Y, V, U
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in error or number == signal.SIGKILL
    assert list(folder.iterdir()) == []


def test_files_go_with_the_arrays(folder):
    def held():
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        names = [os.readlink(link) for link in links if os.path.islink(link)]
        return sum(name.startswith(str(folder)) for name in names)

    state = ThreeSplitting(Problem(WIDTHS), memory=PLENTY, folder=folder).init(*data())
    assert list(folder.iterdir()) == []
    assert held() >= 8
    del state
    assert held() == 0


def test_arguments_are_checked(tmp_path):
    sizes = {
        "2GiB": 2**31,
        "1.5 KB": 1500,
        "800mb": 800_000_000,
        1000: 1000,
        "12": 12,
        "1TiB": 2**40,
    }
    for text, size in sizes.items():
        assert parse_bytes(text, "memory") == size
    problem = Problem(WIDTHS)
    for wrong in ("much", "-1GiB", 0, 1.5, True, "2XB", [], float("nan"), "1e400GB"):
        with pytest.raises(InputError, match=r"^memory must be a number of bytes"):
            ThreeSplitting(problem, memory=wrong)
    with pytest.raises(InputError, match="give memory, too"):
        TwoSplitting(problem, folder=tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        ThreeSplitting(problem, memory=PLENTY, folder=tmp_path / "nowhere")
    with pytest.raises(InputError, match="folder must be a path"):
        ThreeSplitting(problem, memory=PLENTY, folder=3)


# -- mini-batches ----------------------------------------------------------------------------------


def test_mini_batches_of_mapped_samples_do_not_stay(folder):
    X, Y = data(5000)
    np.save(folder / "X.npy", X)
    np.save(folder / "Y.npy", Y.astype(np.float32))
    X, Y = (np.load(folder / name, mmap_mode="r") for name in ("X.npy", "Y.npy"))

    def resident():
        total, ours = 0, False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            if re.match(r"[0-9a-f]+-", line):
                ours = line.endswith(str(folder / "X.npy"))
            elif ours and line.startswith("Rss:"):
                total += int(line.split()[1])
        return total

    results = []
    for memory in (None, PLENTY):
        options = {} if memory is None else {"memory": memory, "folder": folder}
        solver = MiniBatchThreeSplitting(Problem(WIDTHS), batch_size=100, **options)
        state = solver.step(solver.init(X, Y, passes=2))
        after_step = resident()
        solver.objective(state)
        results.append((state.W[1], after_step, resident()))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert min(results[0][1:]) > 0
    assert results[1][1:] == (0, 0)
    with pytest.raises(InputError, match="at least"):
        MiniBatchThreeSplitting(Problem(WIDTHS), memory="1MiB", folder=folder).init(X, Y)


# -- the real thing --------------------------------------------------------------------------------


@pytest.mark.soak
def test_a_hard_limit_of_the_system_holds(folder):
    program = Path(__file__).parents[1] / "benchmarks" / "out_of_core.py"
    options = ["--widths", "784,600,600,10", "--gigabytes", "1.2", "--limit", "800MiB"]
    process = subprocess.run(
        [sys.executable, program, *options, "--iterations", "2", "--folder", folder],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    if "control group" not in process.stdout:
        pytest.skip("no control group can be made here")
    assert "| same weights, to the last bit | yes |" in process.stdout
    peak = float(re.search(r"peak with page cache, GiB \| ([\d.]+)", process.stdout).group(1))
    assert peak <= 800 / 1024 + 0.01
