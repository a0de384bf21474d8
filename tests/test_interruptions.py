"""A run survives Ctrl-C, a scheduler's signal and kill -9: it goes on to the same model."""

import fcntl
import os
import pty
import random
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest
from command import fastbcd, history, package_root

from fastbcd import Model
from fastbcd.cli.main import main

ROOT_ENVIRONMENT = {"PYTHONWARNINGS": "error"}
RUNS = {
    "full batches": ["--hidden", "60,40", "--epochs", "40", "--certify", "5"],
    "mini-batches": ["--hidden", "60,40", "--epochs", "40", "--batch-size", "50"],
}


def start(*arguments, cwd, **more):
    """The process of ``fastbcd ARGUMENTS``."""
    return subprocess.Popen(
        [sys.executable, "-m", "fastbcd.cli.main", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **ROOT_ENVIRONMENT, "PYTHONPATH": package_root()},
        stdout=subprocess.DEVNULL,
        text=True,
        **more,
    )


def wait_for_rows(path, rows, process):
    """Until history.csv has so many rows."""
    while not (path.exists() and len(path.read_text().splitlines()) > rows):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_iteration_and_says_how_to_go_on(number, tmp_path):
    options = ["train", "--hidden", "40", "--epochs", "100000", "--evaluate-every", "1000"]
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNS)
def test_killed_at_random_moments_it_ends_with_the_same_model(kind, tmp_path):
    options = ["train", *RUNS[kind], "--checkpoint-every", "3", "--quiet"]
    begin = time.perf_counter()
    fastbcd(*options, "--out", "whole", cwd=tmp_path)
    whole = (tmp_path / "whole" / "model.safetensors").read_bytes()
    duration = time.perf_counter() - begin
    rng, kills, runs, at_work, finished = random.Random(kind), 0, 0, 0, False
    while kills < 20 or not finished:
        folder = tmp_path / f"run{runs}"
        # Killed before it began, a run is simply started again, in the same folder.
        begun = (folder / "config.json").exists()
        how = ["train", "--resume", folder, "--quiet"] if begun else [*options, "--out", folder]
        process = start(*how, cwd=tmp_path)
        try:  # the last process is left alone
            process.wait(timeout=rng.uniform(0.1, duration) if kills < 20 else 300)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
            at_work += (folder / "checkpoint.safetensors").exists()
        assert process.wait() in (0, -signal.SIGKILL)
        finished = (folder / "summary.json").exists()
        if finished:
            assert (folder / "model.safetensors").read_bytes() == whole
            runs += 1
    assert at_work >= 5


def test_in_a_terminal_progress_is_a_bar_and_in_a_file_it_is_lines(tmp_path):
    arguments = ["train", "--hidden", "8", "--epochs", "3"]
    _, err = fastbcd(*arguments, cwd=tmp_path)
    assert not {"\r", "\x1b"} & set(err)
    lines = err.splitlines()
    assert lines[0].startswith("iteration 1 of 3, ")
    assert lines[-1].startswith("iteration 3 of 3, ")
    assert "objective" in lines[-1]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
    process = start(*arguments, cwd=tmp_path, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how a terminal ends
            break
        if not part:
            break
        shown += part
    assert process.wait() == 0
    for word in (b"objective=", b"train=", b"test=", b"3/3", b"\r"):
        assert word in shown
