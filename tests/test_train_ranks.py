"""``mpiexec fastbcd train``: one run, whatever the number of ranks."""

import signal
import time

import numpy as np
import pytest
from command import fastbcd, history
from mpi import run_ranks, start_ranks

CLI = ["-m", "fastbcd.cli.main", "train"]
SMALL = ["--hidden", "16,16", "--epochs", "6", "--tile-rows", "100"]


@pytest.mark.parametrize("algorithm", ["three-splitting", "two-splitting"])
def test_the_model_is_that_of_one_process_byte_for_byte(algorithm, tmp_path):
    options = [*SMALL, "--algorithm", algorithm, "--preprocess", "standard"]
    options += ["--batch-size", "full"]
    fastbcd("train", *options, "--out", "one", cwd=tmp_path)
    out, err = run_ranks(3, *CLI, *options, "--out", "three", cwd=tmp_path)
    assert out.count("test accuracy") == 1, "the first rank prints, and no other"
    assert err.count("iteration 6 of 6") == 1
    one, three = tmp_path / "one", tmp_path / "three"
    assert (one / "model.safetensors").read_bytes() == (three / "model.safetensors").read_bytes()
    assert {file.name for file in one.iterdir()} == {file.name for file in three.iterdir()}
    for own, other in zip(history(one), history(three), strict=True):
        for name in ("train_accuracy", "test_accuracy"):
            assert own[name] == other[name]
        assert float(own["objective"]) == pytest.approx(float(other["objective"]), rel=1e-12)


def test_what_is_wrong_on_all_ranks_is_said_once(tmp_path):
    for options, message in {
        ("--hidden", "x"): "--hidden must be widths separated by commas",
        ("--hiden", "8"): "unrecognized arguments: --hiden",
        ("nowhere.npz",): "nowhere.npz does not exist",
    }.items():
        _, err = run_ranks(2, *CLI, *options, status=2, cwd=tmp_path, timeout=100)
        assert err.count(message) == 1, err
        assert "Traceback" not in err
    assert not any(tmp_path.iterdir())


def test_what_is_wrong_on_one_rank_ends_the_job_with_its_message(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    X[50, 2] = np.inf
    y = np.arange(60) % 3
    np.savez(tmp_path / "bad.npz", X_train=X, y_train=y, X_test=X[:9], y_test=y[:9])
    options = ["--batch-size", "full", "--hidden", "4", "--tile-rows", "10"]
    _, err = run_ranks(3, *CLI, "bad.npz", *options, status="any error", cwd=tmp_path, timeout=40)
    assert err.count("rank 2: X_train of bad.npz must be finite, but row 50, column 2") == 1, err
    assert "Traceback" not in err


def test_ctrl_c_stops_all_ranks_after_an_iteration_and_the_run_goes_on(tmp_path):
    options = ["--batch-size", "full", "--hidden", "16,16", "--epochs", "100"]
    options += ["--tile-rows", "100", "--out", "run"]
    process = start_ranks(2, *CLI, *options, cwd=tmp_path)
    rows, deadline = tmp_path / "run" / "history.csv", time.monotonic() + 60
    while not (rows.exists() and rows.read_text().count("\n") > 3):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert err.count("go on with: fastbcd train --resume run") == 1, err
    stopped = len(history(tmp_path / "run"))
    assert 3 <= stopped < 100
    run_ranks(3, *CLI, "--resume", "run", "--quiet", cwd=tmp_path)
    fastbcd("train", *options[:-1], "whole", "--quiet", cwd=tmp_path)
    files = [tmp_path / name / "model.safetensors" for name in ("run", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(history(tmp_path / "run")) == 100


def test_other_commands_are_for_one_process(tmp_path):
    out, _ = run_ranks(2, "-m", "fastbcd.cli.main", "info", cwd=tmp_path)
    assert out.count("numba ") == 1
