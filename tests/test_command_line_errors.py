"""Bad input on the command line: one sentence, status 2, nothing damaged."""

import re

import numpy as np
import pytest
from command import SMALL, fastbcd
from test_data import write_npz

from fastbcd.cli.main import main
from fastbcd.files.atomic import write_atomically
from fastbcd.files.checksummed import read_checksummed, write_checksummed

BAD_COMMANDS = [
    (["train", "--gamma", "0"], "gamma must be a number from 1e-15 to"),
    (["train", "--gamma", "abc"], "argument --gamma: invalid float value: 'abc'"),
    (["train", "--alpha", "-1"], "alpha must be a number from 0 to"),
    (["train", "--alpha-weights", "-1"], "alpha_weights must be a number from 0 to"),
    (["train", "--algorithm", "two"], "argument --algorithm: invalid choice: 'two'"),
    (["train", "--hidden", "12,x"], "--hidden must be widths separated by commas, got '12,x'"),
    (["train", "--algorithm", "resnet", "--hidden", "5,6"], "no hidden layer is as wide as"),
    (["train", "--hidden", "4,,4"], "--hidden must be widths separated by commas"),
    (["train", "--bias", "1e30"], "bias must be a number from"),
    (["train", "--target", "x"], "--target names a column of a CSV file, but DATA is digits"),
    (["train", "--loss", "logistic"], "logistic is for two classes, but Y has 10 outputs"),
    (["train", "--hidden", "0"], "widths must be an integer of at least 1, got 0"),
    (["train", "--activation", "rleu"], "activation: unknown name 'rleu'"),
    (["train", "--loss", "mse"], "loss: unknown name 'mse'; known: squared"),
    (["train", "--weight-penalty", "ridge:-2"], "weight_penalty: ridge: strength"),
    (["train", "--state-penalty", "none/l1"], "one penalty or one for each of 3 layers, got 2"),
    (["train", "--algorithm", "two-splitting", "--rho", "2"], "rho: the two-splitting objective"),
    (["train", "--inner-steps", "2"], "--inner-steps: three-splitting solves every block in one"),
    (["train", "--certify", "0"], "--certify must be an integer of at least 1, got 0"),
    (["train", "--batch-size", "x"], "'x' is neither a whole number nor auto nor full"),
    (["train", "--batch-size", "0"], "batch_size must be an integer of at least 1, got 0"),
    (
        ["train", "--batch-size", "9", "--alpha", "1"],
        "--alpha does not go with --batch-size 9; it needs --batch-size full",
    ),
    (
        ["train", "--batch-size", "auto", "--certify", "1"],
        "--certify does not go with --batch-size auto; it needs --batch-size full",
    ),
    (
        ["train", "--batch-size", "9", "--acceleration", "none"],
        "--acceleration does not go with --batch-size 9",
    ),
    (["train", "--acceleration", "x"], "argument --acceleration: invalid choice: 'x'"),
    (
        ["train", "--momentum", "0.5", "--certify", "1"],
        "--momentum is an option of mini-batches, but --certify needs full batches; leave one of",
    ),
    (
        ["train", "--augment", "flip", "--algorithm", "two-splitting"],
        "--augment is an option of mini-batches, but --algorithm two-splitting needs full batches",
    ),
    (
        ["train", "--batch-size", "full", "--momentum", "0.5"],
        "--momentum does not go with --batch-size full",
    ),
    (["train", "--batch-size", "9", "--schedule", "x"], "schedule must be one of cosine, linear"),
    (
        ["train", "--batch-size", "9", "--algorithm", "two-splitting"],
        "--algorithm two-splitting does not go with --batch-size 9",
    ),
    (
        ["train", "--batch-size", "9", "--state-penalty", "l1"],
        "--state-penalty does not go with --batch-size 9",
    ),
    (["train", "--init", "zeros"], "init: unknown name 'zeros'; known: he, normal"),
    (["train", "--init", "normal:-1"], "init: std must be a number from 0 to"),
    (["train", "--bias", "nan"], "bias must be a number from -1e"),
    (["train", "--epochs", "0"], "--epochs must be an integer of at least 1, got 0"),
    (["train", "--seed", "-1"], "--seed must be an integer of at least 0, got -1"),
    (["train", "--threads", "0"], "n_threads must be an integer of at least 1, got 0"),
    (["train", "--evaluate-every", "0"], "--evaluate-every must be an integer of at least 1"),
    (["train", "--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
    (["train", "--test-fraction", "2"], "test fraction must lie between 0 and 1"),
    (
        ["train", "--epoch", "3"],
        "fastbcd train: unrecognized arguments: --epoch; did you mean --epochs",
    ),
    (["info", "x"], "fastbcd info: unrecognized arguments: x .see fastbcd info --help"),
    (["train", "nowhere"], "nowhere does not exist; DATA must be"),
    (["train", "one-class.npz"], "the training labels are all 1; at least two classes"),
    (["train", "new-label.npz"], "test set: label .*7.* does not occur in the training labels"),
    (["train", "--out", "full"], "--out: full is not empty; name a new or empty folder"),
    (["train", "--out", "file.txt"], "--out: file.txt is a file; name a new or empty folder"),
    (["predict", "full"], "full is not a run folder: it has no config.json"),
    (["predict"], "the following arguments are required: DIR"),
    (["prdict"], "invalid choice: 'prdict'"),
    ([], "the following arguments are required: COMMAND"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_COMMANDS, ids=str)
def test_bad_input_is_one_sentence_status_2_and_nothing_written(
    tmp_path, capsys, monkeypatch, arguments, message
):
    # In this process: the entry point is the same function, and 30 starts of Python are saved.
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "one-class.npz", y_train=np.ones(20, int))
    write_npz(tmp_path / "new-label.npz", y_test=np.full(6, 7))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    (tmp_path / "file.txt").write_text("x")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = exit_.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_an_existing_run_is_refused_and_left_as_it_was(tmp_path):
    fastbcd("train", *SMALL, "--out", "run", cwd=tmp_path)
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    _, err = fastbcd("train", *SMALL, "--out", "run", cwd=tmp_path, status=2)
    assert err == "fastbcd train: --out: run holds another run; name a new or empty folder\n"
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before


def test_damaged_models_are_refused(tmp_path):
    fastbcd("train", *SMALL, "--out", "run", cwd=tmp_path)
    model = tmp_path / "run" / "model.safetensors"
    content = model.read_bytes()
    for damaged in (content[:-40], content[:30], b"", b"\xff" * 100):
        model.write_bytes(damaged)
        _, err = fastbcd("predict", "run", cwd=tmp_path, status=2)
        assert "damaged" in err
        assert len(err.splitlines()) == 1
    model.write_bytes(content)
    tensors, metadata = read_checksummed(model, "model")
    for change in ({"W1": tensors["W1"] * np.nan}, {"shift": np.zeros(3)}, {"W2": None}):
        changed = {k: v for k, v in {**tensors, **change}.items() if v is not None}
        write_checksummed(model, changed, metadata)
        _, err = fastbcd("predict", "run", cwd=tmp_path, status=2)
        assert "is not a fastbcd model, or damaged" in err
    model.unlink()
    _, err = fastbcd("predict", "run", cwd=tmp_path, status=2)
    assert "does not exist; a finished run has one" in err


@pytest.mark.parametrize("text", ["[1]", "null", '{"data": 3, "target": null}', "{"])
def test_a_config_that_is_none_is_refused(tmp_path, capsys, text):
    (tmp_path / "config.json").write_text(text)
    assert main(["predict", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "config.json cannot be used" in err
    assert len(err.splitlines()) == 1


def test_files_are_whole_or_not_there(tmp_path, monkeypatch):
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_predict_refuses_other_widths_and_existing_files(tmp_path):
    fastbcd("train", *SMALL, "--out", "run", cwd=tmp_path)
    write_npz(tmp_path / "other.npz")
    _, err = fastbcd("predict", "run", "other.npz", cwd=tmp_path, status=2)
    assert "X has 4 features, but the model was trained on 64" in err
    (tmp_path / "taken.csv").write_text("x")
    _, err = fastbcd("predict", "run", "--out", "taken.csv", cwd=tmp_path, status=2)
    assert "taken.csv exists already" in err
    assert (tmp_path / "taken.csv").read_text() == "x"
