"""A run that goes on from a checkpoint is the run that was not interrupted, bit for bit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import environment
from stopping import StopAfter

from fastbcd import (
    InputError,
    MiniBatchThreeSplitting,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    one_hot,
    resume,
)
from fastbcd.callbacks import Callback, Certify, HistoryFile, Objective, SaveCheckpoint
from fastbcd.kernels import Formula
from fastbcd.kernels.jit import scalar

RNG = np.random.default_rng(0)
X = RNG.standard_normal((150, 6)).astype(np.float32)
Y = one_hot(RNG.integers(3, size=150), 3)

SOLVERS = {
    "three-splitting": lambda: ThreeSplitting(Problem((6, 8, 3), weight_penalty="l1:1e-4")),
    "residual": lambda: ThreeSplitting(
        Problem((6, 8, 8, 3), residual=True, state_penalty="nonnegative"), dtype="float64"
    ),
    "two-splitting": lambda: TwoSplitting(
        Problem((6, 8, 3), activation="tanh", loss="cross_entropy"), inner_steps=2
    ),
    "three-splitting, accelerated": lambda: ThreeSplitting(
        Problem((6, 8, 8, 3), residual=True, weight_penalty="l1:1e-4"), acceleration="nesterov"
    ),
    "two-splitting, accelerated": lambda: TwoSplitting(
        Problem((6, 8, 3), state_penalty="nonnegative/none"),
        dtype="float64",
        acceleration="nesterov",
    ),
    "mini-batch": lambda: MiniBatchThreeSplitting(Problem((6, 8, 8, 3), residual=True), 40),
    "without averages": lambda: MiniBatchThreeSplitting(
        Problem((6, 8, 3), loss="logistic_ovr"), 40, average=0.0, dtype="float64"
    ),
}


def bits(state):
    """Every array of a state, and its counters."""
    arrays = [A for name in ("W", "V", "U", "mean_W", "S") for A in getattr(state, name, [])]
    momentum = getattr(state, "momentum", None)
    if momentum is not None:
        arrays += [*momentum.W, *momentum.V, *momentum.U, np.array([momentum.k, momentum.step])]
    return [None if A is None else A.tobytes() for A in arrays], state.iteration


def without_seconds(history):
    return [{k: v for k, v in record.items() if not k.startswith("seconds")} for record in history]


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(name, stop, tmp_path):
    whole = SOLVERS[name]().fit(X, Y, max_iter=7, seed=3, callbacks=[Objective()])
    path = tmp_path / "c.safetensors"
    callbacks = [Objective(), StopAfter(stop), SaveCheckpoint(path)]
    part = SOLVERS[name]().fit(X, Y, max_iter=7, seed=3, callbacks=callbacks)
    assert part.state.iteration == stop
    result = resume(path, SOLVERS[name](), X, Y, callbacks=[Objective()])
    assert bits(result.state) == bits(whole.state)
    assert without_seconds(result.history) == without_seconds(whole.history)
    seconds = [record["seconds"] for record in result.history]
    assert seconds == sorted(seconds)


def test_checkpoints_come_every_so_many_iterations_each_in_the_place_of_the_last(tmp_path):
    path, seen = tmp_path / "c.safetensors", []

    class Look(Callback):
        def on_iteration(self, solver, state, record):
            from fastbcd.checkpoints.checkpoint import read

            seen.append(read(path).iteration if path.exists() else None)

    SOLVERS["three-splitting"]().fit(
        X, Y, max_iter=7, callbacks=[Look(), SaveCheckpoint(path, every=2)]
    )
    assert seen == [None, None, 2, 2, 4, 4, 6]
    assert list(tmp_path.iterdir()) == [path]


def test_the_certificate_goes_on_where_it_was(tmp_path):
    solver, path = SOLVERS["three-splitting"](), tmp_path / "c.safetensors"
    whole = solver.fit(X, Y, max_iter=9, callbacks=[Objective(), Certify(2)])
    solver.fit(X, Y, max_iter=9, callbacks=[Certify(2), StopAfter(4), SaveCheckpoint(path)])
    resumed = resume(path, solver, X, Y, callbacks=[Objective(), Certify(2)])
    assert resumed.certificate.as_dict() == whole.certificate.as_dict()


def test_the_history_file_loses_what_came_after_the_checkpoint_and_nothing_else(tmp_path):
    solver, path = SOLVERS["three-splitting"](), tmp_path / "c.safetensors"
    file = tmp_path / "history.csv"
    callbacks = [Objective(2), HistoryFile(file), StopAfter(5), SaveCheckpoint(path, every=3)]
    # The run stops at 5 without its last checkpoint, as one that was killed.
    callbacks[-1].on_end = lambda result: None
    solver.fit(X, Y, max_iter=6, callbacks=callbacks)
    before = file.read_text().splitlines()
    resume(path, solver, X, Y, callbacks=[Objective(2), HistoryFile(file)])
    after = file.read_text().splitlines()
    assert len(before) == 6
    assert len(after) == 7
    assert after[:4] == before[:4]
    assert [line.split(",")[0] for line in after[1:]] == ["1", "2", "3", "4", "5", "6"]


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "c.safetensors"
    SOLVERS["three-splitting"]().fit(
        X, Y, max_iter=5, callbacks=[StopAfter(2), SaveCheckpoint(path)]
    )
    return path


@pytest.mark.parametrize(
    ("solver", "named"),
    [
        (ThreeSplitting(Problem((6, 9, 3), weight_penalty="l1:1e-4")), "widths was"),
        (ThreeSplitting(Problem((6, 8, 3), weight_penalty="l1:1e-3")), "weight_penalties was"),
        (
            ThreeSplitting(Problem((6, 8, 3), "tanh", weight_penalty="l1:1e-4")),
            "activations was",
        ),
        (
            ThreeSplitting(Problem((6, 8, 3), weight_penalty="l1:1e-4"), alpha=0.5),
            "alpha was 0.001 there, and is 0.5 here",
        ),
        (
            ThreeSplitting(Problem((6, 8, 3), weight_penalty="l1:1e-4"), dtype="float64"),
            "dtype was",
        ),
        (
            ThreeSplitting(Problem((6, 8, 3), weight_penalty="l1:1e-4"), tile_rows=7),
            "tile_rows was .* there, and is 7 here",
        ),
        (
            ThreeSplitting(Problem((6, 8, 3), weight_penalty="l1:1e-4"), acceleration="nesterov"),
            "acceleration was None there, and is nesterov here$",
        ),
        (SOLVERS["two-splitting"](), "solver was ThreeSplitting there, and is TwoSplitting here"),
    ],
)
def test_another_solver_or_network_is_refused_by_name(solver, named, saved):
    with pytest.raises(InputError, match=named):
        resume(saved, solver, X, Y)


def test_an_accelerated_run_does_not_go_on_as_a_plain_one(tmp_path):
    path, problem = tmp_path / "c.safetensors", Problem((6, 8, 3))
    accelerated = ThreeSplitting(problem, acceleration="nesterov")
    accelerated.fit(X, Y, max_iter=5, callbacks=[StopAfter(3), SaveCheckpoint(path)])
    with pytest.raises(InputError, match="acceleration was nesterov there, and is None here$"):
        resume(path, ThreeSplitting(problem), X, Y)


def test_every_hyperparameter_of_mini_batches_is_held_to(tmp_path):
    path, problem = tmp_path / "c.safetensors", Problem((6, 8, 3))
    solver = MiniBatchThreeSplitting(problem, 40)
    solver.fit(X, Y, max_iter=5, callbacks=[StopAfter(2), SaveCheckpoint(path)])
    others = {"rho": 4.0, "displacement": 1e-2, "weight_decay": 0.5, "average": 0.5, "rank": 2}
    others |= {"schedule": "linear", "momentum": 0.1, "damping": 2.0, "step_size": 0.5}
    others["step_unit"] = "output"
    for name, value in others.items():
        with pytest.raises(InputError, match=f"{name} was"):
            resume(path, MiniBatchThreeSplitting(problem, 40, **{name: value}), X, Y)


def test_a_formula_of_one_s_own_is_told_apart_by_its_code(tmp_path):
    @scalar
    def once(u, p):
        return u

    @scalar
    def twice(u, p):
        return 2.0 * u

    @scalar
    def prox(a, b, q, p):
        return b

    path = tmp_path / "c.safetensors"
    first, second = (
        ThreeSplitting(Problem((6, 8, 3), Formula("mine", value=value, prox=prox)))
        for value in (once, twice)
    )
    first.fit(X, Y, max_iter=5, callbacks=[StopAfter(2), SaveCheckpoint(path)])
    with pytest.raises(InputError, match="activations was"):
        resume(path, second, X, Y)
    assert resume(path, first, X, Y).state.iteration == 5


def test_callbacks_may_remember_anything_under_any_name(tmp_path):
    class Remember(Callback):
        def state_dict(self):
            return self.held

        def load_state_dict(self, remembered):
            self.loaded = remembered

    path, callback, solver = tmp_path / "c.safetensors", Remember(), SOLVERS["three-splitting"]()
    callback.held = {
        "checksum": "abc",
        "tensor": 1.5,
        "a": [np.arange(3), {"b": np.float32(2)}],
        "a.0": np.ones(2),
        "none": None,
    }
    solver.fit(X, Y, max_iter=5, callbacks=[callback, StopAfter(2), SaveCheckpoint(path)])
    resume(path, solver, X, Y, callbacks=[callback])
    loaded = callback.loaded
    np.testing.assert_array_equal(loaded["a"][0], np.arange(3))
    np.testing.assert_array_equal(loaded["a.0"], np.ones(2))
    assert (loaded["checksum"], loaded["tensor"], loaded["none"]) == ("abc", 1.5, None)
    assert loaded["a"][1] == {"b": 2.0}
    callback.held = {3: 4}
    with pytest.raises(TypeError, match="keys must be texts"):
        solver.fit(X, Y, max_iter=5, callbacks=[callback, SaveCheckpoint(path, every=1)])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: memory unknown")
def test_states_in_files_are_written_and_read_with_little_memory(tmp_path):
    rows = 2**13
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("checkpoint_of_files.py"), tmp_path, str(rows)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    grown, same = done.stdout.split()
    assert same == "True"
    assert (tmp_path / "c.safetensors").stat().st_size > 2**26
    assert int(grown) < 2**25


@pytest.mark.parametrize("acceleration", [None, "nesterov"])
def test_a_run_out_of_core_goes_on_in_memory_and_the_other_way_round(acceleration, tmp_path):
    path, problem = tmp_path / "c.safetensors", Problem((6, 8, 3))
    in_memory = ThreeSplitting(problem, acceleration=acceleration)
    files = {"memory": "4GiB", "folder": tmp_path}
    out_of_core = ThreeSplitting(problem, acceleration=acceleration, **files)
    whole = in_memory.fit(X, Y, max_iter=5)
    for first, second in ((out_of_core, in_memory), (in_memory, out_of_core)):
        first.fit(X, Y, max_iter=5, callbacks=[StopAfter(3), SaveCheckpoint(path)])
        assert bits(resume(path, second, X, Y).state) == bits(whole.state)


def test_other_data_are_refused(saved):
    other = X.copy()
    other[100, 3] = np.nextafter(other[100, 3], 9, dtype=np.float32)
    flipped = Y.copy()
    flipped[0] = np.roll(Y[0], 1)
    for inputs, targets in ((other, Y), (X, flipped), (X[:-1], Y[:-1])):
        with pytest.raises(InputError, match="X or Y are not the same data"):
            resume(saved, SOLVERS["three-splitting"](), inputs, targets)


def test_what_a_rule_chose_may_be_given(tmp_path):
    path, problem = tmp_path / "c.safetensors", Problem((6, 8, 3))
    solver = MiniBatchThreeSplitting(problem)
    solver.fit(X, Y, max_iter=5, callbacks=[StopAfter(2), SaveCheckpoint(path)])
    given = MiniBatchThreeSplitting(problem, **vars(solver.settings(len(X))))
    assert bits(resume(path, given, X, Y).state) == bits(solver.fit(X, Y, max_iter=5).state)


def test_another_number_of_threads_is_not_another_run(saved):
    problem = Problem((6, 8, 3), weight_penalty="l1:1e-4")
    one, three = (resume(saved, ThreeSplitting(problem, n_threads=k), X, Y).state for k in (1, 3))
    assert bits(one) == bits(three)


def test_every_damaged_checkpoint_is_refused(saved, tmp_path):
    whole, rng = saved.read_bytes(), np.random.default_rng(1)
    damaged = tmp_path / "d.safetensors"
    header = 8 + int.from_bytes(whole[:8], "little")
    for case in range(200):
        # Half of them in the header, which is a small part of the file.
        position = int(rng.integers(header if case % 2 else len(whole)))
        content = bytearray(whole)
        content[position] ^= int(rng.integers(1, 256))
        damaged.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            resume(damaged, SOLVERS["three-splitting"](), X, Y)
    for content in (b"", whole[:100], whole[:-1], whole + b"\0"):
        damaged.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            resume(damaged, SOLVERS["three-splitting"](), X, Y)


def test_a_model_and_a_missing_file_are_no_checkpoints(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        resume(tmp_path / "none.safetensors", SOLVERS["three-splitting"](), X, Y)
    with pytest.raises(InputError, match="path: the folder .* does not exist"):
        SaveCheckpoint(tmp_path / "nowhere" / "c.safetensors")


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, caplog):
    resource = pytest.importorskip("resource")
    solver, path = SOLVERS["three-splitting"](), tmp_path / "c.safetensors"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    class FillDisk(Callback):
        """No file may grow beyond 1000 bytes any more: the system's own error."""

        def on_iteration(self, solver, state, record):
            if record["iteration"] == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))

    save = SaveCheckpoint(path, every=2)
    try:
        over = solver.fit(X, Y, max_iter=9, callbacks=[FillDisk(), save])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(over.history) == 9
    warned = [f"checkpoint of iteration {k}: {path} cannot be written" for k in (4, 6, 8)]
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [sentence.partition(": File")[0] for sentence in said] == warned
    assert save.failed is not None
    assert list(tmp_path.iterdir()) == [path]
    result, whole = resume(path, solver, X, Y), solver.fit(X, Y, max_iter=9)
    assert bits(result.state) == bits(whole.state)
