"""A run survives Ctrl-C, a scheduler's signal and kill -9, and goes on to the same model."""

import os
import random
import signal
import subprocess
import time

import numpy as np
import pytest
from command import fastbcd, fastbcd_process, history, start
from share import count

from fastbcd import Model, Problem, ThreeSplitting
from fastbcd.callbacks import Callback, SaveCheckpoint, StopOnSignal
from fastbcd.cli.main import main

RUNS = {
    "full batches": [
        *("--batch-size", "full", "--hidden", "60,40", "--epochs", "150", "--certify", "5"),
    ],
    "mini-batches": ["--hidden", "60,40", "--epochs", "60", "--batch-size", "50"],
}


def wait_for_rows(path, rows, process):
    """Until history.csv has so many rows."""
    while not (path.exists() and len(path.read_text().splitlines()) > rows):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_iteration_and_says_how_to_go_on(number, tmp_path):
    options = ["train", "--batch-size", "full", "--hidden", "40", "--epochs", "100000"]
    options += ["--evaluate-every", "1000"]
    process = start(*options, "--out", "a run", cwd=tmp_path, stderr=subprocess.PIPE)
    wait_for_rows(tmp_path / "a run" / "history.csv", 3, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    done = len(history(tmp_path / "a run"))
    last = err.splitlines()[-1]
    assert last == (
        f"fastbcd train: stopped after iteration {done} of 100000; "
        "go on with: fastbcd train --resume 'a run'"
    )
    process = start("train", "--resume", "a run", cwd=tmp_path, stderr=subprocess.PIPE)
    wait_for_rows(tmp_path / "a run" / "history.csv", done + 3, process)
    process.send_signal(number)
    process.communicate(timeout=60)
    rows = history(tmp_path / "a run")
    assert [int(row["iteration"]) for row in rows] == list(range(1, len(rows) + 1))
    assert {path.name for path in (tmp_path / "a run").iterdir()} == {
        "checkpoint.safetensors",
        "config.json",
        "history.csv",
    }


@pytest.fixture
def complain(tmp_path, monkeypatch, capsys):
    """The one sentence that a command, run in `tmp_path`, ends with."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:  # of the parser
            status = end.code
        out, err = capsys.readouterr()
        assert (status, out, err.count("\n")) == (2, "", 1)
        return err

    return run


def test_options_of_a_run_that_goes_on_are_its_own(tmp_path, complain, capsys):
    assert main(["train", "--hidden", "8", "--epochs", "2", "--out", "done"]) == 0
    assert complain("train", "--resume", "done") == (
        "fastbcd train: --resume: the run in done is finished; its model is there\n"
    )
    assert complain("train", "--resume", "none") == (
        "fastbcd train: none is not a run folder: it has no config.json\n"
    )
    (tmp_path / "done" / "summary.json").unlink()  # as if it had been killed
    for option, sentence in {
        "--hidden=9": "--hidden: the run in done was started with 8, not 9",
        "--loss=hinge": "--loss: the run in done was started with squared, not hinge",
        "other.csv": f"DATA: the run in done was started with digits, not {tmp_path}/other.csv",
        "--out=new": "--out does not go with --resume",
        "--checkpoint-every=0": "--checkpoint-every must be an integer of at least 1, got 0",
    }.items():
        assert complain("train", "--resume", "done", option).startswith(
            f"fastbcd train: {sentence}"
        )
    config = (tmp_path / "done" / "config.json").read_text()
    (tmp_path / "done" / "config.json").write_text(config.replace('"seed": 0', '"seed": "x"'))
    assert "argument --seed: invalid int value: 'x'" in complain("train", "--resume", "done")
    (tmp_path / "done" / "config.json").write_text(config)
    same = ["--hidden", "8", "--threads", "1", "--quiet"]
    capsys.readouterr()
    assert main(["train", "--resume", "done", *same]) == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "done" / "summary.json").exists()


def test_a_checkpoint_of_changed_options_or_data_is_refused(tmp_path, complain, monkeypatch):
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(60)))
    options = ["train", "t.csv", "--target", "y", "--hidden", "8", "--epochs", "9", "--out", "r"]
    options += ["--batch-size", "full"]
    with monkeypatch.context() as patched:  # as if it had been killed after its last checkpoint
        patched.setattr(Model, "save", None)
        with pytest.raises(TypeError):
            main([*options, "--checkpoint-every", "5"])
    before = (tmp_path / "r" / "checkpoint.safetensors").read_bytes()
    config = (tmp_path / "r" / "config.json").read_text()
    (tmp_path / "r" / "config.json").write_text(config.replace('"hidden": "8"', '"hidden": "9"'))
    assert "is of another run: widths was [2, 8, 2] there, and is [2, 9, 2] here" in complain(
        "train", "--resume", "r"
    )
    (tmp_path / "r" / "config.json").write_text(config)
    changed = table.read_text().replace("3,0,0", "3,1,0", 1)
    assert changed != table.read_text()
    table.write_text(changed)
    assert "is of another run: X or Y are not the same data" in complain("train", "--resume", "r")
    assert (tmp_path / "r" / "checkpoint.safetensors").read_bytes() == before


def test_what_a_kill_left_behind_is_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["train", "--hidden", "8", "--epochs", "9", "--checkpoint-every", "4", "--quiet"]
    assert main([*options, "--out", "whole"]) == 0
    with monkeypatch.context() as patched:
        patched.setattr(Model, "save", None)
        with pytest.raises(TypeError):
            main([*options, "--out", "part"])
    part = tmp_path / "part"
    for name in ("history.csv", "checkpoint.safetensors", "model.safetensors"):
        left = part / f"{name}.partial"
        left.mkdir()
        (left / ".tmpXYZ").write_bytes(b"half")
    assert main(["train", "--resume", "part", "--quiet"]) == 0
    assert (part / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()
    assert {path.name for path in part.iterdir()} == {
        "config.json",
        "history.csv",
        "model.safetensors",
        "summary.json",
    }


def test_where_the_model_cannot_be_written_training_is_not_lost(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def full(model, path):
        raise OSError(f"{path} cannot be written: disk full")

    with monkeypatch.context() as patched:
        patched.setattr(Model, "save", full)
        assert main(["train", "--hidden", "8", "--epochs", "5", "--out", "r", "--quiet"]) == 2
    assert "model.safetensors cannot be written: disk full" in capsys.readouterr().err
    before = (tmp_path / "r" / "history.csv").read_text()
    assert main(["train", "--resume", "r", "--quiet"]) == 0
    assert (tmp_path / "r" / "history.csv").read_text() == before  # nothing was trained again


def test_a_signal_in_the_last_iteration_changes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save = SaveCheckpoint.on_iteration

    def late(self, solver, state, record):
        if record["iteration"] == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        return save(self, solver, state, record)

    monkeypatch.setattr(SaveCheckpoint, "on_iteration", late)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["train", "--hidden", "8", "--epochs", "3", "--out", "r"]) == 0
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "r" / "model.safetensors").exists()
    assert "stopped after" not in capsys.readouterr().err


def test_signals_that_are_ignored_stay_ignored_and_handlers_come_back():
    rng = np.random.default_rng(0)
    solver, data = ThreeSplitting(Problem((3, 4, 2))), (rng.random((30, 3)), rng.random((30, 2)))

    class Send(Callback):
        def on_iteration(self, solver, state, record):
            os.kill(os.getpid(), signal.SIGTERM)

    ended = []

    class Fail(Callback):
        def on_end(self, result):
            ended.append(self)
            raise ValueError("the end")

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        result = solver.fit(*data, max_iter=3, callbacks=[Send(), StopOnSignal()])
        assert len(result.history) == 3
        signal.signal(signal.SIGTERM, before)
        first, last = Fail(), Fail()
        with pytest.raises(ValueError, match="the end"):
            solver.fit(*data, max_iter=3, callbacks=[first, StopOnSignal(), last])
        assert signal.getsignal(signal.SIGTERM) == before
        assert ended == [first, last]
    finally:
        signal.signal(signal.SIGTERM, before)


# Of full batches as many as of mini-batches.
KILLS = count(10, at_least=2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNS)
def test_killed_at_random_moments_it_ends_with_the_same_model(kind, tmp_path):
    options = ["train", *RUNS[kind], "--checkpoint-every", "3", "--quiet"]
    fastbcd(*options, "--out", "cold", cwd=tmp_path)  # compiles
    begin = time.perf_counter()
    fastbcd_process(*options, "--out", "whole", cwd=tmp_path)
    whole = (tmp_path / "whole" / "model.safetensors").read_bytes()
    duration = time.perf_counter() - begin
    rng, kills, runs, at_work, finished = random.Random(kind), 0, 0, 0, False
    while kills < KILLS or not finished:
        folder = tmp_path / f"run{runs}"
        # Killed before it began, a run is simply started again, in the same folder.
        begun = (folder / "config.json").exists()
        how = ["train", "--resume", folder, "--quiet"] if begun else [*options, "--out", folder]
        checkpoint = folder / "checkpoint.safetensors"
        process = start(*how, cwd=tmp_path)
        moment = rng.uniform(0.1, duration)
        if kills % 2:  # from its first checkpoint on, else from the start of the process
            while process.poll() is None and not checkpoint.exists():
                time.sleep(0.005)
            moment = rng.uniform(0.0, 0.4)
        try:  # the last process is left alone
            process.wait(timeout=moment if kills < KILLS else 300)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
            at_work += checkpoint.exists()
        assert process.wait() in (0, -signal.SIGKILL)
        finished = (folder / "summary.json").exists()
        if finished:
            assert (folder / "model.safetensors").read_bytes() == whole
            runs += 1
    assert at_work >= KILLS // 2
