"""The command line as a user runs it."""

import argparse
import json

import numpy as np
import pytest
from command import SMALL, fastbcd, fastbcd_process, history
from test_data import write_csv, write_idx_folder, write_npz

from fastbcd.callbacks import BlockTimes, Certify
from fastbcd.cli.batches import choose_batches
from fastbcd.cli.main import main
from fastbcd.cli.train import _how_accelerated
from fastbcd.cli.train_options import add_options


def test_train_without_arguments_learns_digits(tmp_path):
    out, err = fastbcd_process("train", cwd=tmp_path)
    folder = tmp_path / "runs" / "digits-1"
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "history.csv",
        "model.safetensors",
        "summary.json",
    ]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["test_accuracy"] >= 0.97
    lines = out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("trials on 20% held-out samples: damping ")
    assert f"test accuracy {summary['test_accuracy']:.4f}" in out
    rows = history(folder)
    assert list(rows[0])[:5] == [
        "iteration",
        "seconds",
        "objective",
        "train_accuracy",
        "test_accuracy",
    ]
    # Mini-batches and trials choose everything by themselves; no trial gets as far as its minimum.
    config = json.loads((folder / "config.json").read_text())
    assert config["batch_size"] == 96
    assert config["epochs"] == 600 // -(-1437 // 96) == 40
    assert config["damping"] < 5.0
    assert (config["momentum"], config["weight_penalty"]) == (pytest.approx(0.9), "none")
    assert [int(row["iteration"]) for row in rows] == list(range(1, 41))
    assert err.splitlines()[-1].startswith("iteration 40 of 40")

    out, _ = fastbcd_process("predict", folder, cwd=tmp_path)
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


EFFECTS = ["--batch-size", "full", "--hidden", "8,8", "--epochs", "3", "--quiet"]


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
    assert main(["train", *EFFECTS, "--out", str(out), *option.split()]) == 0
    assert (out / "model.safetensors").read_bytes() != baseline
    last = history(out)[-1]["test_accuracy"]
    assert main(["predict", str(out)]) == 0
    assert f"accuracy {last} on" in capsys.readouterr().out


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """The model of a small run with default options."""
    out = tmp_path_factory.mktemp("baseline") / "run"
    main(["train", *EFFECTS, "--out", str(out)])
    return (out / "model.safetensors").read_bytes()


def test_predictions_follow_the_names_of_columns_and_labels_their_kind(tmp_path, capsys):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 60))
    kinds = np.where(a > 0.5, "1", np.where(a < -0.5, "2", "x"))
    rows = "".join(f"{x},{y},{kind}\n" for x, y, kind in zip(a, b, kinds, strict=True))
    write_csv(tmp_path / "train.csv", "a,b,kind\n" + rows)
    out = str(tmp_path / "run")
    command = ["train", str(tmp_path / "train.csv"), "--target", "kind", "--out", out]
    command += ["--batch-size", "full", "--hidden", "8", "--epochs", "20", "--quiet"]
    assert main(command) == 0
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


CHOICES = {  # options -> batch size, and what is said of it
    "": ("auto", None),
    "--rho 2 --weight-penalty l1:1e-3 --state-penalty none/none": ("auto", None),
    "--momentum 0.5 --algorithm resnet": ("auto", None),
    "--batch-size 7": (7, None),
    "--batch-size full --alpha 1": ("full", None),
    "--algorithm two-splitting --inner-steps 2": ("full", None),
    "--acceleration none --alpha 1": ("full", "full batches, because --alpha needs them"),
    "--certify 5": ("full", "full batches, because --certify needs them"),
    "--state-penalty none/l1:1": ("full", "full batches, because --state-penalty needs them"),
}


@pytest.mark.parametrize("options", CHOICES)
def test_batches_are_full_if_they_or_one_of_their_options_is_asked_for(options):
    parser = argparse.ArgumentParser()
    add_options(parser)
    parsed = parser.parse_args(options.split())
    said = choose_batches(parsed)
    assert (parsed.batch_size, said) == CHOICES[options]


def test_the_reason_for_full_batches_is_shown_and_they_go_to_config(tmp_path):
    _, err = fastbcd("train", *SMALL, "--bias", 0.1, "--out", "run", cwd=tmp_path)
    assert err.startswith("full batches, because --bias needs them\n")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["batch_size"], config["acceleration"]) == ("full", "nesterov")


@pytest.mark.parametrize("algorithm", ["three-splitting", "two-splitting", "resnet"])
def test_full_batches_are_accelerated_unless_the_published_procedure_is_asked_for(
    algorithm, tmp_path
):
    options = ("--algorithm", algorithm, "--hidden", "16,16", "--epochs", 25)
    options = (*options, "--batch-size", "full")
    objectives, summaries, printed = [], [], []
    for more in ((), ("--acceleration", "none")):
        folder = tmp_path / f"run-{len(summaries)}"
        printed.append(fastbcd("train", *options, *more, "--out", folder, cwd=tmp_path)[0])
        summaries.append(json.loads((folder / "summary.json").read_text()))
        objectives.append([float(row["objective"]) for row in history(folder)])
        config = json.loads((folder / "config.json").read_text())
        assert config["acceleration"] == summaries[-1]["acceleration"]
    accelerated, plain = summaries
    assert (accelerated["acceleration"], accelerated["restarts"]) == ("nesterov", 0)
    assert plain["acceleration"] == "none"
    assert "restarts" not in plain
    assert " after 25 iterations (nesterov) in " in printed[0]
    assert " after 25 iterations in " in printed[1]
    assert objectives[0] == sorted(objectives[0], reverse=True)
    assert accelerated["objective"] < 0.9 * plain["objective"]


@pytest.mark.parametrize(
    ("restarts", "words"),
    [(0, " (nesterov)"), (1, " (nesterov with 1 restart)"), (2, " (nesterov with 2 restarts)")],
)
def test_the_printed_summary_counts_restarts(restarts, words):
    summary = {"acceleration": "nesterov", "restarts": restarts}
    assert _how_accelerated(summary) == words
    assert _how_accelerated({"acceleration": "none"}) == _how_accelerated({}) == ""


def test_a_quantity_that_was_not_measured_is_an_empty_field(tmp_path):
    fastbcd("train", *SMALL, "--evaluate-every", 2, "--out", "run", cwd=tmp_path)
    rows = history(tmp_path / "run")
    assert [row["objective"] == "" for row in rows] == [True, False, False]
    assert all(row["seconds"] for row in rows)


def test_info_names_versions_threads_and_devices(tmp_path):
    out, _ = fastbcd_process("info", cwd=tmp_path)
    facts = {line.split("  ")[0]: line for line in out.splitlines()}
    assert {"fastbcd", "numba", "threads by default", "devices", "blas"} <= set(facts)


def test_certify_adds_columns_and_says_in_words_what_held(tmp_path):
    out, _ = fastbcd(
        *("train", "--batch-size", "full", "--algorithm", "two-splitting"),
        *("--hidden", "16,16", "--epochs", "12"),
        *("--activation", "tanh", "--state-penalty", "none/box:-1,1/none", "--inner-steps", "2"),
        *("--certify", "3", "--evaluate-every", "4"),
        cwd=tmp_path,
    )
    lines = out.splitlines()
    assert lines[1].startswith("descent held: F fell from ")
    assert lines[2].startswith("sufficient decrease held: ")
    assert lines[3].startswith("relative error held with b = ")
    assert lines[4].startswith("rate: the mean of |g|^2 is ")
    rows = history(tmp_path / "runs" / "digits-1")
    assert list(rows[0])[5:] == ["constraint_gap", *BlockTimes.columns, *Certify.columns]
    assert [row["iteration"] for row in rows if row["subgradient"]] == ["3", "6", "9", "12"]
    tracked = [float(row["tracked_objective"]) for row in rows]
    assert tracked == sorted(tracked, reverse=True)
    assert all(float(row["sufficient_decrease"]) > 5e-4 / 4 for row in rows)
    measured = [row for row in rows if row["objective"]]
    assert [row["iteration"] for row in measured] == ["4", "8", "12"]
    for row in measured:
        assert float(row["objective"]) == pytest.approx(float(row["tracked_objective"]), rel=1e-5)
    summary = json.loads((tmp_path / "runs" / "digits-1" / "summary.json").read_text())
    assert summary["certificate"]["descended"]
    assert summary["certificate"]["in_words"] == lines[1:]


@pytest.mark.slow
def test_a_residual_network_of_depth_20_is_as_good_as_a_plain_one_of_depth_3(tmp_path):
    accuracies = []
    for options in (
        ["--algorithm", "resnet", "--hidden", ",".join(["64"] * 20)],
        ["--hidden", "64,64,64"],
    ):
        folder = tmp_path / str(len(accuracies))
        options += ["--batch-size", "full", "--epochs", "100", "--quiet"]
        fastbcd("train", *options, "--out", folder, cwd=tmp_path)
        objectives = [float(row["objective"]) for row in history(folder)]
        assert objectives == sorted(objectives, reverse=True)
        accuracies.append(json.loads((folder / "summary.json").read_text())["test_accuracy"])
    assert accuracies[0] >= accuracies[1] - 0.01 >= 0.95  # of 360 samples


def test_mini_batches_learn_digits_in_thirty_passes(tmp_path):
    options = ("--batch-size", 100, "--hidden", "128,128", "--epochs", 30)
    out, _ = fastbcd("train", *options, cwd=tmp_path)
    folder = tmp_path / "runs" / "digits-1"
    assert len(history(folder)) == 30
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["test_accuracy"] >= 0.96
    assert "after 30 iterations" in out
    config = json.loads((folder / "config.json").read_text())
    assert config["batch_size"] == 100
    assert config["step_size"] == pytest.approx(0.65 / 3**0.5 * (96 / 500) ** 0.75)
    assert (config["schedule"], config["alpha"], config["weight_penalty"]) == (
        "cosine",
        None,
        "none",
    )
    predicted, _ = fastbcd("predict", folder, cwd=tmp_path)
    assert predicted == f"digits: accuracy {summary['test_accuracy']} on 360 samples\n"
