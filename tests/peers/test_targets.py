"""The race to an accuracy: its tuning finds the shortest training, and its command reports."""

import contextlib
import json
import re
import sys

import pytest

pytest.importorskip("torch")


def test_a_run_reaches_a_target_by_the_mean_of_its_seeds(module):
    runs = module("runs")
    of_seeds = [runs.Run(0, 3.0, 0.980), runs.Run(1, 1.0, 0.990), runs.Run(2, 1.5, 0.985)]
    assert runs.holds(of_seeds, 0.985)
    assert not runs.holds(of_seeds[:1] + of_seeds[2:], 0.985)
    assert runs.seconds_of(of_seeds) == 1.5
    assert runs.cells(of_seeds, 0.985) == ["1.50 (1.00 to 3.00)", "98.50 (98.00 to 99.00)", "yes"]
    assert runs.spread([], "{:.2f}") == "-"


def test_a_length_is_whole_passes_over_a_share(module):
    job_of = module("targets").job_of
    for length, passes, share in ((0.35, 1, 0.35), (1.0, 1, 1.0), (1.4, 2, 0.7), (5.6, 6, 5.6 / 6)):
        job = job_of("sgd", "folder", {"rate": 0.1, "length": length}, 3)
        assert job.passes == passes
        assert job.share == pytest.approx(share)
        assert job.settings == {"rate": 0.1, "passes": passes, "seed": 3}


class Learner:
    """Runs of a method whose accuracy grows with the length of training, and which one knows."""

    name = "sgd"

    def __init__(self, run):
        self.made, self.run_of = [], run

    def run(self, settings, seed):
        """Larger rates learn more; a batch of 128 takes twice as long as one of 256."""
        self.made.append((json.dumps(settings), seed))
        length, half = settings["length"], settings["batch"] == 256
        accuracy = 0.94 + 0.02 * length + 0.02 * settings["rate"]
        return self.run_of(seed, length * (2.0 if half else 4.0), accuracy)


def test_tuning_finds_the_shortest_training_that_holds_a_target(module):
    targets, run = module("targets"), module("runs").Run
    learner, kept = Learner(run), []
    trials = targets.Trials(learner, lambda trials: kept.append(len(trials.plain())))
    trials.all_lengths()
    assert len(trials.runs) == 3 * 8 + 3 * 10  # four passes of four seconds are too long
    best = trials.fastest(0.975)
    assert {key: best[key] for key in ("rate", "batch")} == {"rate": 0.8, "batch": 256}
    needed = (0.975 - 0.94 - 0.02 * 0.8) / 0.02
    assert needed <= best["length"] < needed / targets.SHORTER
    assert len(trials.seeds(best, 1)) == targets.SEEDS
    assert len(set(learner.made)) == len(learner.made)  # nothing is run twice
    assert trials.fastest(1.2) is None
    assert len(kept) == len(learner.made)


def test_a_training_that_fails_has_no_accuracy_and_stops_nobody(module, tmp_path, capsys):
    targets = module("targets")
    with contextlib.closing(targets.Runner("sgd", str(tmp_path))) as runner:  # no samples there
        settings = {"rate": 0.1, "batch": 20, "length": 1.0}
        assert [runner.run(settings, 3).accuracy for _ in range(2)] == [0.0, 0.0]
    assert "sgd ended with status 1" in capsys.readouterr().err


@pytest.mark.parametrize(("held", "tune"), [({"adam": []}, []), ({"adam": {}}, ["--tune"])])
def test_a_race_and_its_trials_do_not_share_a_file(
    module, images, monkeypatch, tmp_path, capsys, held, tune
):
    out = tmp_path / "held.json"
    out.write_text(json.dumps(held))
    arguments = ["targets.py", "--mnist", str(images), "--out", str(out), *tune]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(module("targets").Parser, "check_packages", lambda *packages: None)
    with pytest.raises(SystemExit, match="2"):
        module("targets").main()
    assert "name another file" in capsys.readouterr().err
    assert json.loads(out.read_text()) == held


def test_the_race_to_targets_tunes_and_then_says_who_reached_them(
    module, images, monkeypatch, capsys, tmp_path
):
    targets, out = module("targets"), tmp_path / "trials.json"
    monkeypatch.setattr(targets, "NETWORK", (16,))
    monkeypatch.setattr(targets, "TARGETS", (0.3, 1.1))
    monkeypatch.setattr(targets, "LENGTHS", (0.5, 4.0))
    monkeypatch.setattr(targets, "SEEDS", 2)
    grid = {"adam": [{"rate": 0.01, "batch": 20}], "mini-batch": [{"batch": 20}]}
    monkeypatch.setattr(targets, "GRIDS", grid)
    small = ["targets.py", "--mnist", str(images), "--methods", "adam", "mini-batch"]
    monkeypatch.setattr(sys, "argv", [*small, "--tune", "--out", str(out)])
    targets.main()
    printed = capsys.readouterr().out
    assert '("adam", 0.3): {' in printed
    assert '("mini-batch", 1.1): None' in printed
    before = out.read_text()
    targets.main()
    assert capsys.readouterr().out == printed
    assert out.read_text() == before  # seconds included: not run again

    chosen = {"batch": 20, "length": 3.5}
    tuned = {("adam", 0.3): {**chosen, "rate": 0.01}, ("mini-batch", 1.1): chosen}
    monkeypatch.setattr(targets, "TUNED", tuned)
    runs = tmp_path / "runs.json"
    race = ["--seeds", "2", "--bf16", "adam", "--out", str(runs)]
    monkeypatch.setattr(sys, "argv", [*small, *race])
    targets.main()
    printed = capsys.readouterr().out
    for label, reached in (("adam | 30.0%", "yes"), ("adam, bf16 | 30.0%", "yes"),
                           ("mini-batch | 110.0%", "no")):  # fmt: skip
        assert re.search(rf"^\| {label} \|.*\| {reached} \| 3.5 \|", printed, re.MULTILINE)
    held = json.loads(runs.read_text())
    assert {label: list(of) for label, of in held.items()} == {
        "adam": ["0.3"], "adam, bf16": ["0.3"], "mini-batch": ["1.1"]
    }  # fmt: skip
    assert [run["seed"] for run in held["adam, bf16"]["0.3"]] == [0, 1]
