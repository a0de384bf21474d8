"""The speedrun: its clock, its bar, its networks, and what its entries learn."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import package_root

from fastbcd.layers import build_layers

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Modules of the benchmarks by name, as their own files import them."""
    monkeypatch.syspath_prepend(BENCHMARKS / "peers")
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def patterns(n, seed):
    """Images of 28 x 28 of ten classes that differ clearly."""
    rng = np.random.default_rng(seed)
    y = rng.integers(10, size=n)
    means = np.random.default_rng(0).integers(0, 200, (10, 784))
    return (means[y] + rng.integers(0, 56, (n, 784))).astype(np.uint8), y


def test_the_entries_that_reach_the_target_stand_before_the_others(module):
    speedrun = module("speedrun")
    run = speedrun.Run
    slow = [run(0, 1.0, 0.980), run(1, 4.0, 0.9899), run(2, 2.0, 0.99)]
    fast = [run(0, 1.0, 0.980), run(1, 1.0, 0.9899)]
    assert sorted([fast, slow], key=speedrun.place) == [slow, fast]
    entry = next(iter(speedrun.ENTRIES))
    cells = speedrun.line(entry, slow, 7.0)
    assert cells[:5] == [entry, "2.00 (1.00 to 4.00)", "98.66 (98.00 to 99.00)", "yes", "7.0"]


def test_tuning_never_sees_the_test_set(module, monkeypatch):
    speedrun, seen = module("speedrun"), []
    X, y = np.arange(60, dtype=np.uint8)[:, None], np.arange(60)
    samples = speedrun.Samples(X, y, X[:3] + 100, y[:3] + 100)
    monkeypatch.setattr(speedrun.Parser, "samples", lambda self, folder, reader: samples)
    monkeypatch.setattr(speedrun, "tune", lambda images, options: seen.append(images))
    arguments = ["speedrun.py", "--mnist", "nowhere", "--tune", "--entries", "block descent"]
    monkeypatch.setattr(sys, "argv", arguments)
    speedrun.main()
    np.testing.assert_array_equal(np.r_[seen[0].y, seen[0].y_test], y)
    np.testing.assert_array_equal(np.vstack([seen[0].X, seen[0].X_test]), X)
    assert len(seen[0].y_test) == 10


def test_the_clock_is_that_of_training_alone(module, monkeypatch):
    """An entry whose parts take their own time on a clock of its own."""
    speedrun = module("speedrun")
    now, questions, sent = [0.0], [{}, 3, 5], []

    class Entry:
        blas = "none"

        def prepare(self):
            now[0] += 100

        def train(self, X, y, seed):
            now[0] += seed
            return self.predict

        def predict(self, X):
            now[0] += 10
            return np.array([1, 0, 1, 1])

    class Pipe:
        send = staticmethod(sent.append)

        def recv(self):
            if not questions:
                raise EOFError
            return questions.pop(0)

    monkeypatch.setattr(speedrun, "made", lambda name, settings, threads: Entry())
    monkeypatch.setattr(speedrun.time, "perf_counter", lambda: now[0])
    ones = np.ones(4)
    speedrun.serve(Pipe(), "none", speedrun.Samples(ones, ones, ones, ones), 1)
    assert sent == [(100, "none"), (3, 0.75), (5, 0.75)]


@pytest.mark.parametrize("k", range(3))
def test_networks_of_pytorch_have_the_weights_of_ours(module, k):
    pytest.importorskip("torch")
    entries, training = module("speedrun_entries"), module("image_training")
    assert len(entries.NETWORKS) == 3
    text = entries.NETWORKS[k]
    rivals = [p for p in training.network(text, entries.IMAGE, 10).parameters() if p.ndim > 1]
    ours = [layer for layer in build_layers(text, entries.IMAGE, 10) if layer.has_weights]
    sizes = [layer.weight_shape[0] * (layer.weight_shape[1] - 1) for layer in ours]
    assert [p.numel() for p in rivals] == sizes


@pytest.mark.parametrize("name", ["block descent", "muon", "soap", "adam"])
def test_an_entry_learns_and_a_seed_gives_the_same_classes_again(module, name):
    if name != "block descent":
        pytest.importorskip("torch")
    entries = module("speedrun_entries")
    (X, y), (X_test, y_test) = patterns(600, 1), patterns(200, 2)
    small = {"layers": "conv:4:6:4,conv:8:3,dense:16", "batch": 20, "passes": 3, "samples": 500}
    entry = entries.made(name, small, 1)
    entry.prepare()
    first, again = (entry.train(X, y, 0)(X_test) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.mean(first == y_test) > 0.8


def test_samples_limits_what_an_entry_trains_on(module):
    entries = module("speedrun_entries")
    X, y = patterns(300, 1)
    small = {"layers": "conv:4:6:4,dense:8", "batch": 20, "samples": 200}
    entry = entries.made("block descent", small, 1)
    changed = X.copy()
    changed[200:] = 0
    questions = np.random.default_rng(3).integers(0, 256, (200, 784), np.uint8)
    np.testing.assert_array_equal(
        entry.train(X, y, 0)(questions), entry.train(changed, y, 0)(questions)
    )


def speedrun_command(*arguments):
    command = [sys.executable, str(BENCHMARKS / "speedrun.py"), *arguments]
    environment = {"PYTHONPATH": package_root(), "PATH": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def test_the_command_says_what_is_wrong_in_one_line(tmp_path):
    wrong = speedrun_command("--mnist", str(tmp_path), "--entries", "block descent")
    assert wrong.returncode == 2
    assert len(wrong.stderr.strip().splitlines()) == 1
    assert wrong.stderr.startswith("benchmarks/speedrun.py: --mnist: ")
