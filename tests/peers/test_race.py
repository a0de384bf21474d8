"""The race at equal passes: its command reports, and each rival learns."""

import json
import re
import sys

import numpy as np
import pytest
from test_cifar import write_records

torch = pytest.importorskip("torch")


def test_the_race_has_a_line_for_each_method_and_goes_on_where_it_was(
    module, images, monkeypatch, capsys, tmp_path
):
    race, out = module("race"), tmp_path / "race.json"
    small = ["--mnist", str(images), "--networks", "16", "--passes", "4", "--out", str(out)]
    small += ["--bf16", "adam"]
    monkeypatch.setattr(sys, "argv", ["race.py", *small, "--seeds", "1"])
    race.main()
    before = json.loads(out.read_text())
    assert len(before) == 4
    monkeypatch.setattr(sys, "argv", ["race.py", *small, "--seeds", "2"])
    capsys.readouterr()
    race.main()
    after = json.loads(out.read_text())
    assert len(after) == 8
    assert {key: after[key] for key in before} == before  # times included: not run again
    printed = capsys.readouterr().out
    for method in ("mini-batch", "muon", "adam", "adam, bf16"):
        name, rounds = method.removesuffix(", bf16"), method.endswith(", bf16")
        keys = [key for key in after if f" {name} " in key and ("autocast" in key) == rounds]
        runs = [after[key]["passes"] for key in keys]
        final = sorted(100 * run[-1]["test_accuracy"] for run in runs)
        text = f"{sum(final) / 2:.2f} ({final[0]:.2f} to {final[1]:.2f}) |"
        assert re.search(rf"^\| {method} \|.*{re.escape(text)}$", printed, re.MULTILINE)


@pytest.mark.parametrize("name", ["sgd", "muon", "soap", "shampoo", "schedule-free"])
@pytest.mark.parametrize("autocast", [False, True])
def test_each_rival_of_the_race_learns(module, images, monkeypatch, name, autocast):
    race, methods, mnist = module("race"), module("methods"), module("mnist")
    pytest.importorskip(methods.METHODS[name].package)
    settings = {**race.DEFAULT[name], "batch": 20, "passes": 20, "autocast": autocast}
    samples = mnist.read(str(images))
    method = methods.METHODS[name].make(samples, (32,), settings)
    method.start()
    for _ in range(20):
        method.one_pass()
    assert np.mean(method.predict(samples.X_test) == samples.y_test) > 0.8


def test_shifted_inputs_are_the_images_at_another_place(module):
    rng = np.random.default_rng(0)
    for shape in ((6, 6, 1), (4, 4, 3)):
        X = rng.random((50, np.prod(shape)), np.float32)
        samples = module("mnist").Samples(X, np.arange(50) % 3, X, np.arange(50) % 3)
        assert samples.image_shape == shape
        settings = {"rate": 0.1, "batch": 50, "crop": 2}
        method = module("methods").METHODS["sgd"].make(samples, (4,), settings)
        shifted = method.inputs(torch.arange(50)).numpy().reshape(50, *shape)
        seen = set()
        for image, moved in zip(X.reshape(50, *shape), shifted, strict=True):
            padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
            found = [
                (dy, dx)
                for dy in range(5)
                for dx in range(5)
                if (padded[dy : dy + shape[0], dx : dx + shape[1]] == moved).all()
            ]
            assert len(found) == 1
            seen.update(found)
        assert len(seen) > 10


def test_one_cycle_rises_and_ends_at_zero(module, images, monkeypatch):
    samples = module("mnist").read(str(images))
    settings = {"rate": 0.1, "batch": 20, "passes": 5, "schedule": "one-cycle"}
    method = module("methods").METHODS["sgd"].make(samples, (8,), settings)
    method.start()
    rates = []
    for _ in range(5):
        rates.append(method.updates[0].param_groups[0]["lr"])
        method.one_pass()
    assert rates[0] < rates[1] > rates[3] > rates[4]
    assert max(rates) <= 0.1
    assert method.updates[0].param_groups[0]["lr"] < 1e-5


def test_a_network_is_named_with_its_inputs_and_classes(module):
    name_of = module("race").name_of
    assert name_of(784, (500, 500), 10) == "784-500x2-10"
    assert name_of(3072, (300, 200), 4) == "3072-300-200-4"
    assert name_of(25, (16,), 4) == "25-16-4"


@pytest.mark.parametrize(
    ("peak", "found", "n_tried"),
    [
        (0.2, 0.2, 6),  # inside of the grid
        (0.8, 0.8, 8),  # one beyond, and one that shows that it is the best
        (3.2, 1.6, 8),  # two beyond, and no further
        (0.05, 0.05, 8),
    ],
)
def test_tuning_follows_the_best_rate_beyond_the_edge(module, peak, found, n_tried):
    race, settings = module("race"), module("race_settings")
    candidates, tried = settings.grid((128, 512), "rate", (0.1, 0.2, 0.4)), []

    def trial(setting):
        tried.append(setting)
        return -abs(np.log(setting["rate"] / peak)) - 0.1 * (setting["batch"] == 512)

    best = race.tuned(candidates, trial, {"passes": 3})
    assert best == {"batch": 128, "rate": found, "passes": 3}
    assert len(tried) == n_tried
    assert len({str(setting) for setting in tried}) == n_tried


def test_a_larger_batch_size_is_chosen_where_it_is_close(module):
    settings = module("race_settings")
    tried = [
        ({"batch": batch, "rate": rate}, accuracy)
        for batch, rate, accuracy in (
            (128, 0.1, 0.9800), (128, 0.2, 0.9805), (512, 0.1, 0.9780), (512, 0.2, 0.9786)
        )
    ]  # fmt: skip
    assert settings.choice(tried) == {"batch": 512, "rate": 0.2}
    assert settings.choice(tried[:3]) == {"batch": 128, "rate": 0.2}


def test_tuning_prints_every_trial_and_goes_on_where_it_was(
    module, images, monkeypatch, capsys, tmp_path
):
    race, out = module("race"), tmp_path / "trials.json"
    grid = [{"batch": 20, "rate": rate} for rate in (1e-9, 0.1, 1e3)]
    monkeypatch.setattr(race, "grids_of", lambda name, network: grid)
    monkeypatch.setattr(
        sys,
        "argv",
        ["race.py", "--mnist", str(images), "--networks", "8", "--passes", "5", "--tune",
         "--methods", "sgd", "--out", str(out)],
    )  # fmt: skip
    race.main()
    printed = capsys.readouterr().out
    *trials, best = printed.splitlines()
    assert len(trials) == 3
    assert best == "25-8-4, sgd, best: batch 20, rate 0.1, passes 5"
    before = out.read_text()
    race.main()
    assert capsys.readouterr().out == printed
    assert out.read_text() == before  # seconds included: not run again


def test_a_trial_that_fails_has_no_accuracy_and_stops_nobody(module, images, monkeypatch, capsys):
    race = module("race")
    grid = [{"batch": 20, "rate": 0.1}, {"batch": 20, "rate": "fast"}, {"batch": 10, "rate": 0.1}]
    monkeypatch.setattr(race, "grids_of", lambda name, network: grid)
    monkeypatch.setattr(race, "beyond", lambda best, tried: None)
    arguments = ["--mnist", str(images), "--networks", "8", "--passes", "2", "--tune"]
    monkeypatch.setattr(sys, "argv", ["race.py", *arguments, "--methods", "sgd"])
    race.main()
    lines = capsys.readouterr().out.splitlines()
    assert "rate fast, passes 2: sgd ended with status 1" in lines[1]
    assert lines[3].startswith("25-8-4, sgd, best: batch ")


def test_cifar_is_a_table_of_standardised_colours(module, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (6, 30, 32, 32, 3)).astype(np.uint8)
    X[..., 2] //= 4
    write_records(tmp_path, X, rng.integers(0, 3, (6, 30)))
    samples = module("mnist").read_standardised(str(tmp_path))
    assert samples.X.shape == (150, 3072)
    assert samples.X_test.shape == (30, 3072)
    pixels = samples.X.reshape(-1, 3)  # colours are the last axis
    np.testing.assert_allclose(pixels.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(pixels.std(axis=0), 1, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ((), "--mnist"),
        (("--mnist", "{images}", "--cifar", "{images}"), "not allowed with"),
        (("--cifar", "nowhere"), "--cifar: "),
        (("--mnist", "nowhere"), "--mnist: "),
        (("--cifar", "{images}"), "has 25 inputs, and CIFAR-10 has 3072"),
        (("--mnist", "{colours}"), "--mnist: "),
        (("--mnist", "{images}", "--crop", "5"), "--crop: 5 pixels leave nothing of 5 rows"),
        (("--mnist", "{images}", "--crop", "-1"), "--crop"),
        (("--mnist", "{images}", "--out", "{images}"), "cannot be a file"),
        (("--mnist", "{images}", "--out", "{images}/none/file.json"), "cannot be a file"),
        (("--mnist", "{images}", "--out", "{text}"), "is not JSON"),
        (("--mnist", "{images}", "--out", "{list}"), "is not JSON with runs by name"),
    ],
)
def test_bad_arguments_of_the_race_end_with_one_line(
    module, images, monkeypatch, capsys, tmp_path, arguments, culprit
):
    write_records(tmp_path, np.zeros((6, 2, 32, 32, 3), np.uint8), np.arange(12).reshape(6, 2))
    text = tmp_path / "text"
    text.write_text("accuracy\n")
    (tmp_path / "list").write_text("[]")
    places = {"images": images, "colours": tmp_path, "text": text, "list": tmp_path / "list"}
    filled = [argument.format(**places) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["race.py", *filled])
    with pytest.raises(SystemExit, match="2"):
        module("race").main()
    error = capsys.readouterr().err
    assert culprit in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("shape", [(30, 20), (20, 30)])
def test_muon_in_float32_is_that_of_pytorch(module, shape):
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape))]
    weights.append(torch.nn.Parameter(weights[0].detach().clone()))
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}
    updates = [
        torch.optim.Muon(weights[:1], **settings),
        module("gradient").MuonInFloat32(weights[1:], **settings),
    ]
    before = weights[0].detach().clone()
    for _ in range(5):
        gradient = torch.randn(shape)
        for W, update in zip(weights, updates, strict=True):
            W.grad = gradient
            update.step()
    moved = (weights[0] - before).norm()
    assert (weights[0] - weights[1]).norm() < 0.02 * moved  # bfloat16 has 8 binary digits
