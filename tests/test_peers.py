"""The comparison with other packages: its slow reference is right, its command reports."""

import contextlib
import gzip
import importlib
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import package_root

torch = pytest.importorskip("torch")

PEERS = Path(__file__).parent.parent / "benchmarks" / "peers"
# Arrays are tiny here, and two threads of a busy machine wait for each other in every product.
ONE_THREAD = ("OMP_NUM_THREADS", "1")
METHODS = [
    *("three-splitting", "two-splitting", "mini-batch", "published", "adam", "sgd"),
    "mlpclassifier",
]


@pytest.fixture
def module(monkeypatch):
    """Modules of the folder by name, as its own files import them."""
    monkeypatch.syspath_prepend(PEERS)
    return importlib.import_module


def relu(u):
    return np.maximum(u, 0)


def prox_value(u, a, c, q):
    return (a - relu(u)) ** 2 + q * (u - c) ** 2


@pytest.mark.parametrize("q", [0.5, 1.0, 6.0])
def test_relu_prox_of_the_reference_is_the_minimiser_of_a_dense_grid(module, q):
    a, c = np.random.default_rng(0).normal(size=(2, 300))
    u = module("published").relu_prox(torch.from_numpy(a), torch.from_numpy(c), q).numpy()
    grid = np.linspace(-5, 5, 20_001)
    values = prox_value(grid[:, None], a, c, q)
    assert (prox_value(u, a, c, q) <= values.min(axis=0) + 1e-12).all()
    np.testing.assert_allclose(u, grid[values.argmin(axis=0)], atol=6e-4)


def iterate(W, b, U, V, Y, gamma, rho, alpha):
    """The paper's Algorithm 2 in float64, samples in columns, bias after weights."""
    L = len(W) - 1

    def weights(l):
        system = alpha * np.eye(len(V[l - 1])) + rho * V[l - 1] @ V[l - 1].T
        W[l] = np.linalg.solve(system, (alpha * W[l] + rho * (U[l] - b[l]) @ V[l - 1].T).T).T
        rest = (U[l] - W[l] @ V[l - 1]).sum(axis=1, keepdims=True)
        b[l] = (alpha * b[l] + rho * rest) / (alpha + rho * Y.shape[1])

    V[L] = (Y + gamma * U[L] + alpha * V[L]) / (1 + gamma + alpha)
    U[L] = (gamma * V[L] + rho * (W[L] @ V[L - 1] + b[L])) / (gamma + rho)
    weights(L)
    for l in range(L - 1, 0, -1):
        above = W[l + 1]
        system = rho * above.T @ above + gamma * np.eye(above.shape[1])
        pull = rho * above.T @ (U[l + 1] - b[l + 1]) + gamma * relu(U[l])
        V[l] = np.linalg.solve(system, pull)
        q = (rho + alpha) / gamma
        c = (rho * (W[l] @ V[l - 1] + b[l]) + alpha * U[l]) / (rho + alpha)
        upper, lower = relu((V[l] + q * c) / (1 + q)), np.minimum(c, 0)
        better = prox_value(upper, V[l], c, q) < prox_value(lower, V[l], c, q)
        U[l] = np.where(better, upper, lower)
        weights(l)


def objective(W, b, U, V, Y, gamma, rho):
    L = len(W) - 1
    total = np.sum((V[L] - Y) ** 2) / 2
    for l in range(1, L + 1):
        total += gamma / 2 * np.sum((V[l] - (relu(U[l]) if l < L else U[l])) ** 2)
        total += rho / 2 * np.sum((U[l] - W[l] @ V[l - 1] - b[l]) ** 2)
    return total


def test_an_iteration_of_the_reference_is_that_of_the_formulas_in_float64(module):
    rng = np.random.default_rng(1)
    X = rng.random((7, 60)).astype(np.float32)
    Y = np.eye(3, dtype=np.float32)[:, rng.integers(3, size=60)]
    gamma, rho, alpha = 1.0, 0.5, 2.0
    solver = module("published").PublishedBCD((7, 9, 8, 3), gamma, rho, alpha)
    blocks = solver.start(torch.from_numpy(X))
    # Weights of 0.01 leave hidden states nearly constant; these make both sides of ReLU occur.
    for l in range(1, 4):
        blocks.W[l] *= 50
        blocks.U[l] = blocks.W[l] @ blocks.V[l - 1] + blocks.b[l]
        blocks.V[l] = torch.relu(blocks.U[l]) if l < 3 else blocks.U[l].clone()
    assert all(0.1 < (blocks.U[l] > 0).float().mean() < 0.9 for l in (1, 2))
    expected = {
        name: [None if array is None else array.numpy().astype(np.float64) for array in arrays]
        for name, arrays in vars(blocks).items()
    }
    before = objective(**expected, Y=Y, gamma=gamma, rho=rho)
    assert solver.objective(blocks, torch.from_numpy(Y)) == pytest.approx(before, rel=1e-5)

    solver.iterate(blocks, torch.from_numpy(Y))
    iterate(**expected, Y=Y, gamma=gamma, rho=rho, alpha=alpha)
    for name, arrays in expected.items():
        for l in range(1, 4):
            got = getattr(blocks, name)[l].numpy()
            np.testing.assert_allclose(got, arrays[l], atol=2e-5, err_msg=f"{name}_{l}")
    after = objective(**expected, Y=Y, gamma=gamma, rho=rho)
    assert solver.objective(blocks, torch.from_numpy(Y)) == pytest.approx(after, rel=1e-4)
    assert after < before

    out = X
    for l in range(1, 4):
        out = expected["W"][l] @ out + expected["b"][l]
        out = relu(out) if l < 3 else out
    assert (solver.predict(blocks, torch.from_numpy(X)).numpy() == out.argmax(axis=0)).all()


def record(number, seconds, accuracy, monitored):
    return {
        "pass": number,
        "seconds": seconds,
        "pass_seconds": 2.0,
        "monitored_seconds": monitored,
        "monitored_pass_seconds": 5.0,
        "test_accuracy": accuracy,
        "peak_megabytes": 100.0 + number,
    }


def test_the_table_counts_what_lies_within_the_budget_of_each_clock(module):
    passes = [record(1, 2.5, 0.91, 5), record(2, 4.5, 0.96, 10), record(3, 6.5, 0.97, 15)]
    cells = module("report").cells
    assert cells(passes, 10, "") == ["2", "2.5", "4.5", "6.5", "-", "0.9700", "103"]
    assert cells(passes, 5, "") == ["2", "2.5", "4.5", "-", "-", "0.9600", "103"]
    assert cells(passes, 10, "monitored_") == ["5", "5", "10", "-", "-", "0.9600", "103"]
    assert cells(passes, 1, "") == ["2", "-", "-", "-", "-", "-", "103"]


class Counter:
    """A method whose passes take `cost` on a clock of its own; right in a tenth more each pass."""

    def __init__(self):
        self.now, self.passes = 0.0, 0

    def start(self):
        self.now += 1

    def one_pass(self):
        self.now, self.passes = self.now + 2, self.passes + 1

    def predict(self, X):
        self.now += 100  # must not count
        return np.arange(10) < self.passes


def test_the_clock_counts_start_and_passes_and_stops_before_the_budget_is_exceeded(
    module, monkeypatch
):
    process, method = module("process"), Counter()
    monkeypatch.setattr(process.time, "perf_counter", lambda: method.now)
    job = process.Job("none", "none", (), budget=7.5, passes=50)
    records = list(process.records(method, None, np.ones(10), job))
    assert [r["seconds"] for r in records] == [3, 5, 7]
    assert [r["test_accuracy"] for r in records] == [0.1, 0.2, 0.3]
    assert 10 < records[-1]["peak_megabytes"] < 1e5


def test_a_method_that_fails_is_named_with_its_status(module, tmp_path):
    process = module("process")
    with pytest.raises(RuntimeError, match="adam ended with status 1"):
        list(process.stream(process.Job("adam", str(tmp_path), (8,), 1.0, 1)))  # no samples there


def test_tuning_never_sees_the_test_set(module):
    mnist = module("mnist")
    X = np.arange(12, dtype=np.float32)[:, None]
    held_out = mnist.without_test_set(mnist.Samples(X, np.arange(12), -X, -np.arange(12)))
    np.testing.assert_array_equal(np.vstack([held_out.X, held_out.X_test]), X)
    np.testing.assert_array_equal(np.r_[held_out.y, held_out.y_test], np.arange(12))
    assert len(held_out.X_test) == 2


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder like MNIST's: 400 and 100 images of 5 x 5, four classes that differ clearly."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(2)
    patterns = rng.integers(0, 200, (4, 5, 5))
    for prefix, n in (("train", 400), ("t10k", 100)):
        y = rng.integers(4, size=n).astype(np.uint8)
        X = (patterns[y] + rng.integers(0, 56, (n, 5, 5))).astype(np.uint8)
        for stem, array in (("images-idx3", X), ("labels-idx1", y)):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            content = gzip.compress(head + array.tobytes())
            (folder / f"{prefix}-{stem}-ubyte.gz").write_bytes(content)
    return folder


def peers(*arguments, status=0):
    """Run the command; its standard output and error."""
    done = subprocess.run(
        [sys.executable, str(PEERS), *map(str, arguments)],
        env={**os.environ, **dict([ONE_THREAD]), "PYTHONPATH": package_root()},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def test_the_command_prints_a_line_for_every_method_and_writes_its_passes(images, tmp_path):
    out = tmp_path / "passes.json"
    small = ("--mnist", images, "--network", "64,64", "--budget", 100, "--passes", 60)
    printed, _ = peers(*small, "--out", out)
    table, machine = printed.strip().split("\n\n")
    header, _, *lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert header[1:6] == ["s / pass", "s to 90%", "s to 95%", "s to 97%", "s to 98%"]
    assert [len(line) for line in lines] == [8] * 8
    assert lines[4][0] == f"{lines[3][0]}, with its monitor"
    assert f"Python {sys.version_info[0]}." in machine
    assert f"torch {torch.__version__}" in machine

    runs = json.loads(out.read_text())["runs"]
    assert list(runs) == METHODS
    del lines[4]
    for line, (name, run) in zip(lines, runs.items(), strict=True):
        passes, schedule = run["passes"], 10 if name == "mini-batch" else 60
        assert [p["pass"] for p in passes] == list(range(1, schedule + 1))
        assert (np.diff([p["seconds"] for p in passes]) > 0).all()
        assert run["threads"] == 1
        assert passes[-1]["peak_megabytes"] > 20
        assert line[6] == f"{passes[-1]['test_accuracy']:.4f}"
    # Every method learns: four classes, so chance is a quarter.
    best = {name: max(p["test_accuracy"] for p in run["passes"]) for name, run in runs.items()}
    assert min(best.values()) > 0.8, best
    published = runs["published"]["passes"]
    assert all(p["monitored_seconds"] > p["seconds"] for p in published)
    assert published[-1]["objective"] < published[0]["objective"]


def test_tuning_prints_every_candidate_and_the_best(module, images, monkeypatch, capsys):
    tune = module("tune")
    monkeypatch.setattr(tune, "CANDIDATES", {"sgd": {"rate": (1e-9, 0.1), "batch": (20,)}})
    monkeypatch.setenv(*ONE_THREAD)
    small = ["--mnist", str(images), "--network", "8", "--passes", "5"]
    monkeypatch.setattr(sys, "argv", ["tune.py", *small])
    tune.main()
    *candidates, best = capsys.readouterr().out.splitlines()
    accuracies = [float(line.rsplit(" ", 1)[1]) for line in candidates]
    assert len(accuracies) == 2
    assert accuracies[1] > accuracies[0]  # a rate of 1e-9 learns nothing
    assert best == f"sgd: rate 0.1, batch 20, {accuracies[1]:.4f}"


def test_the_race_has_a_line_for_each_method_and_goes_on_where_it_was(
    module, images, monkeypatch, capsys, tmp_path
):
    race, out = module("race"), tmp_path / "race.json"
    monkeypatch.setenv(*ONE_THREAD)
    small = ["--mnist", str(images), "--networks", "16", "--passes", "4", "--out", str(out)]
    small += ["--bf16", "adam"]
    monkeypatch.setattr(sys, "argv", ["race.py", *small, "--seeds", "1"])
    race.main()
    before = json.loads(out.read_text())
    assert len(before) == 4
    monkeypatch.setattr(sys, "argv", ["race.py", *small, "--seeds", "2"])
    capsys.readouterr()
    race.main()
    after = json.loads(out.read_text())
    assert len(after) == 8
    assert {key: after[key] for key in before} == before  # times included: not run again
    printed = capsys.readouterr().out
    for method in ("mini-batch", "muon", "adam", "adam, bf16"):
        name, rounds = method.removesuffix(", bf16"), method.endswith(", bf16")
        keys = [key for key in after if f" {name} " in key and ("autocast" in key) == rounds]
        runs = [after[key]["passes"] for key in keys]
        final = sorted(100 * run[-1]["test_accuracy"] for run in runs)
        text = f"{sum(final) / 2:.2f} ({final[0]:.2f} to {final[1]:.2f}) |"
        assert re.search(rf"^\| {method} \|.*{re.escape(text)}$", printed, re.MULTILINE)


def test_a_run_reaches_a_target_by_the_mean_of_its_seeds(module):
    runs = module("runs")
    of_seeds = [runs.Run(0, 3.0, 0.980), runs.Run(1, 1.0, 0.990), runs.Run(2, 1.5, 0.985)]
    assert runs.holds(of_seeds, 0.985)
    assert not runs.holds(of_seeds[:1] + of_seeds[2:], 0.985)
    assert runs.seconds_of(of_seeds) == 1.5
    assert runs.cells(of_seeds, 0.985) == ["1.50 (1.00 to 3.00)", "98.50 (98.00 to 99.00)", "yes"]
    assert runs.spread([], "{:.2f}") == "-"


def test_a_worker_that_has_ended_is_named_by_its_next_job_and_closes(module, tmp_path):
    process = module("process")
    worker, job = process.Worker(), process.Job("adam", str(tmp_path), (8,), 1.0, 1)
    for _ in range(2):  # the first job ends it, because there are no samples
        with pytest.raises(RuntimeError, match="adam ended with status 1"):
            list(worker.stream(job))
    worker.close()


def test_a_part_without_some_classes_has_the_outputs_of_all(module):
    X = np.zeros((6, 2), np.float32)
    samples = module("mnist").Samples(X, np.arange(6) // 2, X[:3], np.arange(3))
    assert len(set(samples.part(1 / 6, 0).y)) == 1
    assert samples.part(1 / 6, 0).n_classes == samples.n_classes == 3


def test_a_share_of_the_samples_is_drawn_by_the_seed(module):
    X = np.arange(40, dtype=np.float32)[:, None]
    samples = module("mnist").Samples(X, np.arange(40), -X[:3], np.arange(3))
    assert samples.part(1, 7) is samples
    part, other = samples.part(0.3, 0), samples.part(0.3, 1)
    assert len(part.X) == len(set(part.y)) == 12
    np.testing.assert_array_equal(part.X[:, 0], part.y)
    np.testing.assert_array_equal(part.X_test, samples.X_test)
    assert set(part.y) != set(other.y)


def test_a_job_trains_on_its_share(module, monkeypatch, tmp_path, capsys):
    process, seen = module("process"), []
    X = np.arange(40, dtype=np.float32)[:, None]
    samples = module("mnist").Samples(X, np.arange(40) % 3, X[:10], np.arange(10) % 3)
    samples.save(tmp_path)

    class Method(Counter):
        threads, blas = 1, "none"

        def make(self, samples, hidden, settings):
            seen.append(samples.X[:, 0])
            return self

    monkeypatch.setitem(process.METHODS, "none", Method())
    process.run(process.Job("none", str(tmp_path), (), 1e9, 1, {"seed": 7}, share=0.3))
    np.testing.assert_array_equal(seen[0], samples.part(0.3, 7).X[:, 0])
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_length_is_whole_passes_over_a_share(module):
    job_of = module("targets").job_of
    for length, passes, share in ((0.35, 1, 0.35), (1.0, 1, 1.0), (1.4, 2, 0.7), (5.6, 6, 5.6 / 6)):
        job = job_of("sgd", "folder", {"rate": 0.1, "length": length}, 3)
        assert job.passes == passes
        assert job.share == pytest.approx(share)
        assert job.settings == {"rate": 0.1, "passes": passes, "seed": 3}


class Learner:
    """Runs of a method whose accuracy grows with the length of training, and which one knows."""

    name = "sgd"

    def __init__(self, run):
        self.made, self.run_of = [], run

    def run(self, settings, seed):
        """Larger rates learn more; a batch of 128 takes twice as long as one of 256."""
        self.made.append((json.dumps(settings), seed))
        length, half = settings["length"], settings["batch"] == 256
        accuracy = 0.94 + 0.02 * length + 0.02 * settings["rate"]
        return self.run_of(seed, length * (2.0 if half else 4.0), accuracy)


def test_tuning_finds_the_shortest_training_that_holds_a_target(module):
    targets, run = module("targets"), module("runs").Run
    learner, kept = Learner(run), []
    trials = targets.Trials(learner, lambda trials: kept.append(len(trials.plain())))
    trials.all_lengths()
    assert len(trials.runs) == 3 * 8 + 3 * 10  # four passes of four seconds are too long
    best = trials.fastest(0.975)
    assert {key: best[key] for key in ("rate", "batch")} == {"rate": 0.8, "batch": 256}
    needed = (0.975 - 0.94 - 0.02 * 0.8) / 0.02
    assert needed <= best["length"] < needed / targets.SHORTER
    assert len(trials.seeds(best, 1)) == targets.SEEDS
    assert len(set(learner.made)) == len(learner.made)  # nothing is run twice
    assert trials.fastest(1.2) is None
    assert len(kept) == len(learner.made)


def test_a_training_that_fails_has_no_accuracy_and_stops_nobody(module, tmp_path, capsys):
    targets = module("targets")
    with contextlib.closing(targets.Runner("sgd", str(tmp_path))) as runner:  # no samples there
        settings = {"rate": 0.1, "batch": 20, "length": 1.0}
        assert [runner.run(settings, 3).accuracy for _ in range(2)] == [0.0, 0.0]
    assert "sgd ended with status 1" in capsys.readouterr().err


@pytest.mark.parametrize(("held", "tune"), [({"adam": []}, []), ({"adam": {}}, ["--tune"])])
def test_a_race_and_its_trials_do_not_share_a_file(
    module, images, monkeypatch, tmp_path, capsys, held, tune
):
    out = tmp_path / "held.json"
    out.write_text(json.dumps(held))
    arguments = ["targets.py", "--mnist", str(images), "--out", str(out), *tune]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(module("targets").Parser, "check_packages", lambda *packages: None)
    with pytest.raises(SystemExit, match="2"):
        module("targets").main()
    assert "name another file" in capsys.readouterr().err
    assert json.loads(out.read_text()) == held


def test_the_race_to_targets_tunes_and_then_says_who_reached_them(
    module, images, monkeypatch, capsys, tmp_path
):
    targets, out = module("targets"), tmp_path / "trials.json"
    monkeypatch.setenv(*ONE_THREAD)
    monkeypatch.setattr(targets, "NETWORK", (16,))
    monkeypatch.setattr(targets, "TARGETS", (0.3, 1.1))
    monkeypatch.setattr(targets, "LENGTHS", (0.5, 4.0))
    monkeypatch.setattr(targets, "SEEDS", 2)
    grid = {"adam": [{"rate": 0.01, "batch": 20}], "mini-batch": [{"batch": 20}]}
    monkeypatch.setattr(targets, "GRIDS", grid)
    small = ["targets.py", "--mnist", str(images), "--methods", "adam", "mini-batch"]
    monkeypatch.setattr(sys, "argv", [*small, "--tune", "--out", str(out)])
    targets.main()
    printed = capsys.readouterr().out
    assert '("adam", 0.3): {' in printed
    assert '("mini-batch", 1.1): None' in printed
    before = out.read_text()
    targets.main()
    assert capsys.readouterr().out == printed
    assert out.read_text() == before  # seconds included: not run again

    chosen = {"batch": 20, "length": 3.5}
    tuned = {("adam", 0.3): {**chosen, "rate": 0.01}, ("mini-batch", 1.1): chosen}
    monkeypatch.setattr(targets, "TUNED", tuned)
    runs = tmp_path / "runs.json"
    race = ["--seeds", "2", "--bf16", "adam", "--out", str(runs)]
    monkeypatch.setattr(sys, "argv", [*small, *race])
    targets.main()
    printed = capsys.readouterr().out
    for label, reached in (("adam | 30.0%", "yes"), ("adam, bf16 | 30.0%", "yes"),
                           ("mini-batch | 110.0%", "no")):  # fmt: skip
        assert re.search(rf"^\| {label} \|.*\| {reached} \| 3.5 \|", printed, re.MULTILINE)
    held = json.loads(runs.read_text())
    assert {label: list(of) for label, of in held.items()} == {
        "adam": ["0.3"], "adam, bf16": ["0.3"], "mini-batch": ["1.1"]
    }  # fmt: skip
    assert [run["seed"] for run in held["adam, bf16"]["0.3"]] == [0, 1]


def test_what_pytorch_imports_for_an_optimizer_is_not_on_the_clock(images):
    program = """
import sys
from methods import METHODS
from mnist import read
settings = {"rate": 0.1, "batch": 20, "passes": 1}
method = METHODS["sgd"].make(read(sys.argv[1]), (8,), settings)
before = set(sys.modules)
method.start()
method.one_pass()
print(sorted(set(sys.modules) - before))
"""
    folder = Path(__file__).parents[1] / "benchmarks" / "peers"
    done = subprocess.run(
        [sys.executable, "-c", program, str(images)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["sgd", "muon", "soap", "shampoo", "schedule-free"])
@pytest.mark.parametrize("autocast", [False, True])
def test_each_rival_of_the_race_learns(module, images, monkeypatch, name, autocast):
    race, methods, mnist = module("race"), module("methods"), module("mnist")
    pytest.importorskip(methods.METHODS[name].package)
    monkeypatch.setenv(*ONE_THREAD)
    settings = {**race.DEFAULT[name], "batch": 20, "passes": 20, "autocast": autocast}
    samples = mnist.read(str(images))
    method = methods.METHODS[name].make(samples, (32,), settings)
    method.start()
    for _ in range(20):
        method.one_pass()
    assert np.mean(method.predict(samples.X_test) == samples.y_test) > 0.8


def test_one_cycle_rises_and_ends_at_zero(module, images, monkeypatch):
    monkeypatch.setenv(*ONE_THREAD)
    samples = module("mnist").read(str(images))
    settings = {"rate": 0.1, "batch": 20, "passes": 5, "schedule": "one-cycle"}
    method = module("methods").METHODS["sgd"].make(samples, (8,), settings)
    method.start()
    rates = []
    for _ in range(5):
        rates.append(method.updates[0].param_groups[0]["lr"])
        method.one_pass()
    assert rates[0] < rates[1] > rates[3] > rates[4]
    assert max(rates) <= 0.1
    assert method.updates[0].param_groups[0]["lr"] < 1e-5


def test_ablations_print_a_line_for_each_change(images):
    arguments = ("--mnist", images, "--network", "16", "--passes", "2")
    printed = subprocess.run(
        [sys.executable, PEERS.parent / "ablations.py", *arguments, "--only", "default", "sweeps"],
        env={**os.environ, "PYTHONPATH": package_root()},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert printed[0] == "| changed | after 1 | after 2 | training |"
    assert re.fullmatch(r"\| nothing \| [\d.]+ \| [\d.]+ \| [\d.]+ \|", printed[2])
    assert printed[3].startswith("| sweeps 2 | ")
    assert printed[3].split("|")[2:] != printed[2].split("|")[2:]


def test_the_study_of_defaults_prints_errors_beside_those_of_the_peer():
    arguments = ("--only", "wine", "diabetes", "--seeds", "1", "--hidden", "16")
    lines = ("--lines", "defaults", "cross entropy", "scikit-learn's MLP, its defaults")
    printed = subprocess.run(
        [sys.executable, PEERS.parent / "defaults.py", *arguments, *lines],
        env={**os.environ, "PYTHONPATH": package_root()},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert printed[0] == "| changed | wine | diabetes | relative |"
    cells = [[cell.strip() for cell in line.split("|")[2:-1]] for line in printed[2:]]
    assert cells[0][2] == "1.00"
    assert all(0 <= float(row[0]) < 30 and float(row[1]) < 120 for row in cells[:2])
    assert cells[0][1] == cells[1][1]  # a loss of classes is not one of numbers
    assert len(cells) == 3


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ((), "--mnist"),
        (("--mnist", "nowhere"), "nowhere"),
        (("--mnist", "{images}", "--network", "8,-1"), "--network"),
        (("--mnist", "{images}", "--budget", "0"), "--budget"),
        (("--mnist", "{images}", "--budget", "nan"), "--budget"),
        (("--mnist", "{images}", "--passes", "0"), "--passes"),
        (("--mnist", "{images}", "--only", "lbfgs"), "lbfgs"),
        (("--mnist", "{images}", "--out", "{images}"), "--out"),
    ],
)
def test_bad_arguments_end_with_one_line_and_status_2(images, arguments, culprit):
    filled = [argument.replace("{images}", str(images)) for argument in arguments]
    printed, error = peers(*filled, status=2)
    assert printed == ""
    assert error.startswith("benchmarks/peers: ")
    assert culprit in error
    assert error.count("\n") == 1
