"""The command line as a user runs it."""

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from test_data import write_csv, write_idx_folder, write_npz

from fastbcd.cli.main import main
from fastbcd.files import write_atomically

SMALL = ["--hidden", "8", "--epochs", "3"]


def fastbcd(*arguments, cwd, status=0, env=None):
    """Run ``fastbcd ARGUMENTS`` in `cwd`; its standard output and error."""
    done = subprocess.run(
        [sys.executable, "-m", "fastbcd.cli.main", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONPATH": package_root(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def package_root():
    import fastbcd as package

    return os.path.dirname(os.path.dirname(package.__file__))


def history(folder):
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_train_without_arguments_learns_digits(tmp_path):
    out, err = fastbcd("train", cwd=tmp_path)
    folder = tmp_path / "runs" / "digits-1"
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "history.csv",
        "model.safetensors",
        "summary.json",
    ]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["test_accuracy"] >= 0.97
    assert len(out.splitlines()) == 1
    assert f"test accuracy {summary['test_accuracy']:.4f}" in out
    for word in ("objective=", "train=", "test=", "it/s"):
        assert word in err  # the progress bar
    rows = history(folder)
    assert list(rows[0])[:5] == [
        "iteration",
        "seconds",
        "objective",
        "train_accuracy",
        "test_accuracy",
    ]
    assert [int(row["iteration"]) for row in rows] == list(range(1, 51))
    objectives = np.array([float(row["objective"]) for row in rows])
    assert (objectives[1:] <= objectives[:-1]).all()

    out, _ = fastbcd("predict", folder, cwd=tmp_path)
    assert out == f"digits: accuracy {rows[-1]['test_accuracy']} on 360 samples\n"


def test_idx_npz_and_csv_are_trained_on_and_predicted(tmp_path):
    write_idx_folder(tmp_path / "images")
    write_npz(tmp_path / "arrays.npz")
    write_csv(tmp_path / "table.csv")
    for data, options in [
        ("images", []),
        ("arrays.npz", []),
        ("table.csv", ["--target", "kind"]),
    ]:
        folder = tmp_path / f"run-{data}"
        out, err = fastbcd(
            "train", data, *options, *SMALL, "--quiet", "--out", folder, cwd=tmp_path
        )
        assert (out, err) == ("", "")
        last = history(folder)[-1]["test_accuracy"]
        own, _ = fastbcd("predict", folder, cwd="/")
        assert f"accuracy {last} on" in own
        given, _ = fastbcd("predict", folder, data, "--out", f"{data}.out", cwd=tmp_path)
        rows = (tmp_path / f"{data}.out").read_text().splitlines()
        assert rows[0] == "sample,prediction"
        if data == "table.csv":  # all ten rows, not only those held out
            assert "on 10 samples" in given
            assert {row.split(",")[1] for row in rows[1:]} <= {"red", "blue"}
        else:
            assert given == own


def test_predictions_of_unlabelled_data_go_to_standard_output(tmp_path):
    write_csv(tmp_path / "table.csv")
    write_csv(tmp_path / "new.csv", "a,b\n1,2\n-3,0\n")
    fastbcd("train", "table.csv", "--target", "kind", *SMALL, "--out", "run", cwd=tmp_path)
    out, _ = fastbcd("predict", "run", "new.csv", cwd=tmp_path)
    lines = out.splitlines()
    assert lines[0] == "sample,prediction"
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "1"]
    assert {line.split(",")[1] for line in lines[1:]} <= {"red", "blue"}


def test_the_same_seed_gives_the_same_model_file_and_another_seed_another(tmp_path):
    for name, seed in [("a", 5), ("b", 5), ("c", 6)]:
        fastbcd("train", *SMALL, "--seed", seed, "--out", name, "--quiet", cwd=tmp_path)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_a_residual_network_is_trained_and_predicted(tmp_path):
    options = ["--algorithm", "resnet", "--hidden", "64,64", "--epochs", "20"]
    fastbcd("train", *options, "--out", "run", "--quiet", cwd=tmp_path)
    rows = history(tmp_path / "run")
    assert float(rows[-1]["test_accuracy"]) >= 0.9
    out, _ = fastbcd("predict", "run", cwd=tmp_path)
    assert f"accuracy {rows[-1]['test_accuracy']} on 360 samples" in out


@pytest.mark.parametrize(
    "option",
    [
        *("--gamma 2", "--rho 0.5", "--alpha 0.5", "--alpha-weights 0.5", "--bias 0.1"),
        *("--activation leaky_relu:0.12345678", "--loss cross_entropy", "--seed 1"),
        *("--weight-penalty ridge:0.1", "--init normal:0.1", "--dtype float64"),
        *("--reduction sum", "--preprocess none", "--hidden 9", "--epochs 4"),
        *("--loss cross_entropy --loss-update prox-linear", "--test-fraction 0.5"),
    ],
)
def test_every_option_has_an_effect_and_its_model_predicts_the_same(
    tmp_path, capsys, option, baseline
):
    out = tmp_path / "run"
    small = ["--hidden", "8,8", "--epochs", "3", "--quiet", "--out", str(out)]
    assert main(["train", *small, *option.split()]) == 0
    assert (out / "model.safetensors").read_bytes() != baseline
    last = history(out)[-1]["test_accuracy"]
    assert main(["predict", str(out)]) == 0
    assert f"accuracy {last} on" in capsys.readouterr().out


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """The model of a small run with default options."""
    out = tmp_path_factory.mktemp("baseline") / "run"
    main(["train", "--hidden", "8,8", "--epochs", "3", "--quiet", "--out", str(out)])
    return (out / "model.safetensors").read_bytes()


def test_predictions_follow_the_names_of_columns_and_labels_their_kind(tmp_path, capsys):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 60))
    kinds = np.where(a > 0.5, "1", np.where(a < -0.5, "2", "x"))
    rows = "".join(f"{x},{y},{kind}\n" for x, y, kind in zip(a, b, kinds, strict=True))
    write_csv(tmp_path / "train.csv", "a,b,kind\n" + rows)
    out = str(tmp_path / "run")
    command = ["train", str(tmp_path / "train.csv"), "--target", "kind", "--out", out]
    assert main([*command, "--hidden", "8", "--epochs", "20", "--quiet"]) == 0
    # Other order, and labels that are all whole numbers here.
    whole = [(x, y, kind) for x, y, kind in zip(a, b, kinds, strict=True) if kind != "x"]
    swapped = "".join(f"{kind},{y},{x}\n" for x, y, kind in whole)
    write_csv(tmp_path / "new.csv", "kind,b,a\n" + swapped)
    assert main(["predict", out, str(tmp_path / "new.csv")]) == 0
    printed = capsys.readouterr().out
    assert float(printed.split("accuracy ")[1].split(" ")[0]) >= 0.8
    # The run's own test set is the held-out rows, not the whole file.
    assert main(["predict", out]) == 0
    assert "on 12 samples" in capsys.readouterr().out

    def refused(data, message, *options):
        assert main(["predict", out, str(data), *options]) == 2
        assert message in capsys.readouterr().err

    write_csv(tmp_path / "other.csv", "a,c\n1,2\n")
    refused(tmp_path / "other.csv", "has no column 'b', which the model was trained on")
    write_csv(tmp_path / "unknown.csv", "a,b,kind\n1,2,y\n")
    refused(tmp_path / "unknown.csv", "label 'y' does not occur in the training labels")
    refused(tmp_path / "train.csv", "no column 'nope'", "--target", "nope")


def test_a_quantity_that_was_not_measured_is_an_empty_field(tmp_path):
    fastbcd("train", *SMALL, "--evaluate-every", 2, "--out", "run", cwd=tmp_path)
    rows = history(tmp_path / "run")
    assert [row["objective"] == "" for row in rows] == [True, False, False]
    assert all(row["seconds"] for row in rows)


def test_info_names_versions_threads_and_devices(tmp_path):
    out, _ = fastbcd("info", cwd=tmp_path)
    facts = {line.split("  ")[0]: line for line in out.splitlines()}
    assert {"fastbcd", "numba", "threads by default", "devices", "blas"} <= set(facts)


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
    (["train", "--init", "zeros"], "init: unknown name 'zeros'; known: he, normal"),
    (["train", "--init", "normal:-1"], "init: std must be a number from 0 to"),
    (["train", "--bias", "nan"], "bias must be a number from -1e"),
    (["train", "--epochs", "0"], "--epochs must be an integer of at least 1, got 0"),
    (["train", "--seed", "-1"], "--seed must be an integer of at least 0, got -1"),
    (["train", "--threads", "0"], "n_threads must be an integer of at least 1, got 0"),
    (["train", "--evaluate-every", "0"], "--evaluate-every must be an integer of at least 1"),
    (["train", "--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
    (["train", "--test-fraction", "2"], "test fraction must lie between 0 and 1"),
    (["train", "--epoch", "3"], "unrecognized arguments: --epoch"),
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
        assert "is not a fastbcd model, or damaged" in err
        assert len(err.splitlines()) == 1
    tensors = load_file_of(content)
    for change in ({"W1": tensors["W1"] * np.nan}, {"shift": np.zeros(3)}, {"W2": None}):
        changed = {k: v for k, v in {**tensors, **change}.items() if v is not None}
        model.write_bytes(safetensors.numpy.save(changed, {"fastbcd": metadata_of(content)}))
        _, err = fastbcd("predict", "run", cwd=tmp_path, status=2)
        assert "is not a fastbcd model, or damaged" in err
    model.unlink()
    _, err = fastbcd("predict", "run", cwd=tmp_path, status=2)
    assert "cannot be read; a finished run has one" in err


def load_file_of(content):
    return safetensors.numpy.load(content)


def metadata_of(content):
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header["__metadata__"]["fastbcd"]


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
