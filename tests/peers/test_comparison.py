"""The comparison with other packages, and two studies: the commands report."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import package_root

torch = pytest.importorskip("torch")

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"
METHODS = [
    *("three-splitting", "two-splitting", "mini-batch", "published", "adam", "sgd"),
    "mlpclassifier",
]


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


def peers(*arguments, status=0):
    """Run the command; its standard output and error."""
    done = subprocess.run(
        [sys.executable, str(PEERS), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": package_root()},
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
    small = ["--mnist", str(images), "--network", "8", "--passes", "5"]
    monkeypatch.setattr(sys, "argv", ["tune.py", *small])
    tune.main()
    *candidates, best = capsys.readouterr().out.splitlines()
    accuracies = [float(line.rsplit(" ", 1)[1]) for line in candidates]
    assert len(accuracies) == 2
    assert accuracies[1] > accuracies[0]  # a rate of 1e-9 learns nothing
    assert best == f"sgd: rate 0.1, batch 20, {accuracies[1]:.4f}"


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
