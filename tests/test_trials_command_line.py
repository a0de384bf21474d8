"""``fastbcd train`` holds the trials of the estimators."""

import json

import numpy as np
import pytest
from command import fastbcd

from fastbcd import trials
from fastbcd.cli.batches import choose_batches
from fastbcd.cli.main import build_parser
from fastbcd.cli.run_folder import RunFolder
from fastbcd.cli.trials import holds_trials
from fastbcd.trials import Trial

OPTIONS = ["--target", "kind", "--hidden", "64"]
CHOSEN = ("damping", "batch_size", "epochs")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two classes that no network can tell apart well, by five numbers and a letter."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 5))
    kinds = np.where(X[:, 0] + 1.5 * rng.standard_normal(200) > 0.0, "yes", "no")
    lines = ["a,b,c,d,e,f,kind"]
    for row, kind in zip(X, kinds, strict=True):
        lines.append(",".join(f"{x:.5f}" for x in row) + f",{'pq'[int(row[1] > 0)]},{kind}")
    path = tmp_path_factory.mktemp("table") / "noisy.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def config(folder):
    return json.loads((folder / "config.json").read_text())


def test_a_run_has_what_its_trials_chose_and_goes_on_to_the_same_bits(table, tmp_path, monkeypatch):
    out, _ = fastbcd("train", table, *OPTIONS, "--out", "run", cwd=tmp_path)
    damping, size, passes = (config(tmp_path / "run")[name] for name in CHOSEN)
    line = f"trials on 25% held-out samples: damping {damping:g}, {passes} passes in batches of "
    assert f"\n{line}{size}; --no-trials for none\n" in out
    assert size == 96
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "finish", lambda *_: None)
        fastbcd(
            *("train", table, *OPTIONS, "--quiet", "--checkpoint-every", 40, "--out", "cut"),
            cwd=tmp_path,
        )
    monkeypatch.setattr(trials, "run_trial", None)  # no further ones are held
    fastbcd("train", "--resume", "cut", "--quiet", cwd=tmp_path)
    given = ["--damping", damping, "--batch-size", size, "--epochs", passes]
    given_out, _ = fastbcd("train", table, *OPTIONS, *given, "--out", "given", cwd=tmp_path)
    assert "trials" not in given_out
    fastbcd("train", table, *OPTIONS, "--no-trials", "--quiet", "--out", "none", cwd=tmp_path)
    runs = [tmp_path / name for name in ("run", "cut", "given", "none")]
    models = [(run / "model.safetensors").read_bytes() for run in runs]
    assert models[0] == models[1] == models[2] != models[3]
    assert [config(runs[3])[name] for name in CHOSEN] == [25.0, 16, 120]
    assert {config(run)["loss"] for run in runs} == {"cross_entropy"}


@pytest.mark.parametrize(
    "kind",
    ["--target a,b", "--target kind --loss logistic_ovr"],
)
def test_numbers_and_classes_have_trials(kind, table, tmp_path, monkeypatch):
    seen = []

    def scripted(solver, damping, train, held, seed):
        seen.append((damping, len(train[0]), len(held[0]), held[1].shape[1], seed))
        return Trial(damping, 1.0, 2, 10)

    monkeypatch.setattr(trials, "run_trial", scripted)
    fastbcd(
        *("train", table, *kind.split(), "--hidden", "8", "--seed", 3, "--out", "run"),
        cwd=tmp_path,
    )
    assert seen == [(5.0, 120, 40, 2, 3), (15.0, 120, 40, 2, 3)]
    assert [config(tmp_path / "run")[name] for name in CHOSEN] == [5.0, 96, 4]


@pytest.mark.parametrize(
    ("options", "n", "expected"),
    [
        ("", 100, True),
        ("--hidden 9 --dropout 0.1 --batch-size auto", 19_999, True),
        ("", 99, False),
        ("", 20_000, False),
        ("--no-trials", 500, False),
        ("--early-stopping", 500, False),
        ("--epochs 3", 500, False),
        ("--damping 3", 500, False),
        ("--schedule linear", 500, False),
        ("--batch-size 50", 500, False),
        ("--batch-size full", 500, False),
        ("--certify 5", 500, False),
        ("--layers dense:8", 500, False),
        ("--memory 1GiB", 500, False),
        ("--resume runs/1", 500, False),
    ],
)
def test_what_a_user_gives_is_not_chosen_by_trials(options, n, expected):
    parsed = build_parser().parse_args(["train", *options.split()])
    parsed.comm = None
    choose_batches(parsed)
    assert holds_trials(parsed, n) is expected
    parsed.comm = object()  # several ranks
    assert not holds_trials(parsed, n)
