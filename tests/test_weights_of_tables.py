"""``fastbcd train --weights COLUMN``."""

import csv
import json

import numpy as np
import pytest
from command import fastbcd

from fastbcd.cli.run_folder import RunFolder
from fastbcd.data import TableOptions, load

SIZE = ["--hidden", "32", "--epochs", "20", "--batch-size", "16", "--damping", "1", "--quiet"]


def write(path, weights):
    """Two lines for each point, with opposite classes; `weights` are those of the right ones."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 2))
    lines = ["a,b,city,w,y"]
    for i, (row, weight) in enumerate(zip(x, weights, strict=True)):
        for right in (True, False):
            y = "yes" if (row[0] > 0) == right else "no"
            given = weight if right else 1.0 - weight
            lines.append(f"{row[0]:.4f},{row[1]:.4f},{'pq'[i % 2]},{given:g},{y}")
    path.write_text("\n".join(lines) + "\n")
    return x


def labels(path):
    with path.open(newline="") as file:
        return [row["prediction"] for row in csv.DictReader(file)]


@pytest.mark.parametrize(("weight", "right"), [(1.0, "yes"), (0.0, "no")])
def test_rows_of_weight_0_teach_nothing_and_new_files_need_no_weights(weight, right, tmp_path):
    write(tmp_path / "t.csv", np.full(80, weight))
    fastbcd("train", "t.csv", "--target=y", "--weights=w", *SIZE, "--out", "run", cwd=tmp_path)
    (tmp_path / "new.csv").write_text("city,b,a\np,0,2\nq,0,-2\n")
    fastbcd("predict", "run", "new.csv", "--out", "out.csv", cwd=tmp_path)
    assert labels(tmp_path / "out.csv") == [right, "no" if right == "yes" else "yes"]
    fastbcd("predict", "run", cwd=tmp_path)  # its own test part still has the column


@pytest.mark.parametrize("more", [(), ("--early-stopping",), ("--class-weight", "balanced")])
def test_weights_count_and_a_run_with_them_goes_on_to_the_same_bits(more, tmp_path, monkeypatch):
    write(tmp_path / "t.csv", np.linspace(0.3, 0.9, 80))
    command = ["train", "t.csv", "--target=y", *SIZE, *more]
    fastbcd(*command, "--weights=w", "--out", "whole", cwd=tmp_path)
    fastbcd(*command, "--column=w:ignore", "--out", "equal", cwd=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "finish", lambda *_: None)
        fastbcd(*command, "--weights=w", "--checkpoint-every=16", "--out=cut", cwd=tmp_path)
    fastbcd("train", "--resume", "cut", "--quiet", cwd=tmp_path)
    models = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "cut")]
    assert models[0] == models[1]
    objectives = [
        json.loads((tmp_path / run / "summary.json").read_text())["objective"]
        for run in ("whole", "equal")
    ]
    assert objectives[0] != objectives[1]


def test_numbers_are_scaled_by_their_weighted_mean(tmp_path):
    write(tmp_path / "t.csv", np.linspace(0.3, 0.9, 80))
    options = ["--target=a", "--column=y:ignore", "--weights=w", "--loss=squared", *SIZE]
    fastbcd("train", "t.csv", *options, "--out", "run", cwd=tmp_path)
    data = load(
        tmp_path / "t.csv", target="a", table=TableOptions(kinds={"y": "ignore"}, weights="w")
    )
    model = RunFolder(tmp_path / "run").read_model()
    assert model.target_shift == pytest.approx(np.average(data.y_train, 0, data.weight_train))


BAD = {
    "--weights: t.csv has no column 'weight'": ("--weights=weight", ""),
    "--weights: the column 'y' is a target": ("--weights=y", ""),
    "--weights: t.csv, line 162: column 'w' is empty": ("--weights=w", "1,1,p,,yes"),
    "--weights: t.csv, line 162: column 'w' is -1; a weight must": ("--weights=w", "1,1,p,-1,no"),
    "t.csv, line 162: column 'w' must hold finite numbers, got 'inf'": (
        "--weights=w",
        "1,1,p,inf,no",
    ),
    "--weights city is zero for every sample": ("--weights=city", "zero"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_weights_are_one_sentence_and_nothing_is_written(message, tmp_path):
    option, line = BAD[message]
    path = tmp_path / "t.csv"
    write(path, np.full(80, 0.5))
    if line == "zero":
        path.write_text(path.read_text().replace(",p,", ",0,").replace(",q,", ",0,"))
    else:
        path.write_text(path.read_text() + (f"{line}\n" if line else ""))
    out, err = fastbcd("train", "t.csv", "--target=y", option, *SIZE, cwd=tmp_path, status=2)
    assert message in err
    assert (out, len(err.splitlines())) == ("", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_weights_need_a_table(tmp_path):
    _, err = fastbcd("train", "--weights", "w", cwd=tmp_path, status=2)
    assert err == "fastbcd train: --weights needs a table, but DATA is digits\n"
