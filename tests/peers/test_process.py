"""Methods in processes of their own: clocks, shares of the samples, and failures."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")


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


def test_a_worker_that_has_ended_is_named_by_its_next_job_and_closes(module, tmp_path):
    process = module("process")
    worker, job = process.Worker(), process.Job("adam", str(tmp_path), (8,), 1.0, 1)
    for _ in range(2):  # the first job ends it, because there are no samples
        with pytest.raises(RuntimeError, match="adam ended with status 1"):
            list(worker.stream(job))
    worker.close()


def test_tuning_never_sees_the_test_set(module):
    mnist = module("mnist")
    X = np.arange(12, dtype=np.float32)[:, None]
    held_out = mnist.without_test_set(mnist.Samples(X, np.arange(12), -X, -np.arange(12)))
    np.testing.assert_array_equal(np.vstack([held_out.X, held_out.X_test]), X)
    np.testing.assert_array_equal(np.r_[held_out.y, held_out.y_test], np.arange(12))
    assert len(held_out.X_test) == 2


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
    folder = Path(__file__).parents[2] / "benchmarks" / "peers"
    done = subprocess.run(
        [sys.executable, "-c", program, str(images)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
