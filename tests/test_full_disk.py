"""A disk that is full for a while ends no run, and no file is half-written."""

import csv
import logging
import signal

import numpy as np
import pytest

from fastbcd import Problem, ThreeSplitting, resume
from fastbcd.callbacks import Callback, HistoryFile, Objective, SaveCheckpoint
from fastbcd.cli.main import main

resource = pytest.importorskip("resource")
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 4)), RNG.normal(size=(40, 2))


class FullFrom(Callback):
    """From iteration `start` on no file may grow beyond `size` bytes; at `stop` it may again."""

    def __init__(self, start, stop, size):
        self.moments, self.size = {start: True, stop: False}, size

    def on_start(self, solver, state, max_iter):
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_iteration(self, solver, state, record):
        full = self.moments.get(record["iteration"])
        if full is not None:
            size = self.size if full else self.before[0]
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, self.before[1]))

    def on_end(self, result):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


def solver():
    return ThreeSplitting(Problem((4, 5, 2)), n_threads=1)


def rows(path):
    with path.open(newline="") as file:
        return [int(row["iteration"]) for row in csv.DictReader(file)]


def test_the_next_checkpoint_is_tried_again_and_goes_on_to_the_same_bits(tmp_path, caplog):
    path = tmp_path / "c.safetensors"
    save = SaveCheckpoint(path, every=2)
    whole = solver().fit(X, Y, max_iter=9, callbacks=[FullFrom(3, 7, 1000), save])
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [text.partition(":")[0] for text in warnings] == [
        "checkpoint of iteration 4",
        "checkpoint of iteration 6",
    ]
    assert save.failed is None
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    again = resume(path, solver(), X, Y)
    assert len(again.history) == len(whole.history) == 9
    for one, other in zip(whole.state.W[1:], again.state.W[1:], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("stop", [7, 99])
def test_rows_of_the_history_wait_until_there_is_room(stop, tmp_path, caplog):
    path = tmp_path / "history.csv"
    # In the middle of a row: what was written of it has to go.
    full = FullFrom(3, stop, 300)
    solver().fit(X, Y, max_iter=20, callbacks=[Objective(), full, HistoryFile(path)])
    content = path.read_text()
    assert content.endswith("\n")
    assert rows(path) == list(range(1, 21))
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert said == [f"{path} cannot be written: File too large; its rows are kept for later"]


def test_a_command_ends_with_its_model_although_no_checkpoint_could_be_written(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)

    def full(self, state):
        raise OSError("c.safetensors cannot be written: No space left on device")

    monkeypatch.setattr(SaveCheckpoint, "save", full)
    options = ["train", "--hidden", "8", "--quiet", "--checkpoint-every", "2"]
    assert main([*options, "--epochs", "5", "--out", "run"]) == 0
    err = capsys.readouterr().err
    assert err.splitlines() == [
        f"checkpoint of iteration {k}: c.safetensors cannot be written: No space left on device"
        for k in (2, 4)
    ]
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert (tmp_path / "run" / "summary.json").exists()


def test_an_interrupted_command_says_that_its_checkpoint_could_not_be_written(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        SaveCheckpoint, "on_iteration", lambda *a: signal.raise_signal(signal.SIGTERM)
    )

    def full(self, state):
        raise OSError("no room")

    monkeypatch.setattr(SaveCheckpoint, "save", full)
    assert main(["train", "--hidden", "8", "--quiet", "--epochs", "50", "--out", "run"]) == 2
    err = capsys.readouterr().err
    assert "fastbcd train: no room" in err
    assert "go on with" not in err
