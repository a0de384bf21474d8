"""``--class-weight balanced``, and label smoothing, on the command line and in estimators."""

import json

import numpy as np
import pytest
from command import fastbcd

from fastbcd import BCDClassifier, InputError, Model
from fastbcd.cli.run_folder import RunFolder
from fastbcd.data.class_weight import balanced_weights
from fastbcd.devices.ranks import get_ranks
from fastbcd.models.probabilities import probabilities

RARE = 12  # samples of the second class, of 120


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two overlapping classes, the second one rare."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 2))
    X[:RARE] += 1.5
    kinds = np.where(np.arange(120) < RARE, "rare", "common")
    path = tmp_path_factory.mktemp("table") / "t.csv"
    rows = "".join(f"{a:.6f},{b:.6f},{kind}\n" for (a, b), kind in zip(X, kinds, strict=True))
    path.write_text("a,b,kind\n" + rows)
    return path


def test_balanced_classes_weigh_the_same_together():
    codes = np.array([0, 1, 1, 1, 2, 2])
    weight = balanced_weights(codes, 3, get_ranks(None))
    assert weight.sum() == pytest.approx(6)
    np.testing.assert_allclose(np.bincount(codes, weight), 2)


@pytest.mark.parametrize("batches", ["auto", "full"])
def test_the_command_line_finds_more_of_a_rare_class(batches, table, tmp_path, monkeypatch):
    options = ["train", table, "--target", "kind", "--hidden", 8, "--epochs", 30, "--quiet"]
    options += ["--loss", "cross_entropy:0.1", "--batch-size", batches]
    balanced = (*options, "--class-weight", "balanced")
    fastbcd(*options, "--out", "plain", cwd=tmp_path)
    fastbcd(*balanced, "--out", "balanced", cwd=tmp_path)
    assert json.loads((tmp_path / "balanced" / "config.json").read_text())["class_weight"]
    shares = []
    for name in ("plain", "balanced"):
        model = Model.load(tmp_path / name / "model.safetensors")
        X = np.loadtxt(table, delimiter=",", skiprows=1, usecols=(0, 1))
        p = model.predict_proba(X, names=["a", "b"])
        assert ((p > 0.0) & (p < 1.0)).all()
        shares.append(float(p[:, list(model.classes).index("rare")].mean()))
    assert shares[0] + 0.08 < shares[1]
    # A run that goes on has the same weights.
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "finish", lambda *_: None)
        fastbcd(*balanced, "--checkpoint-every", 20, "--out", "again", cwd=tmp_path)
    fastbcd("train", "--resume", "again", "--quiet", cwd=tmp_path)
    files = [tmp_path / name / "model.safetensors" for name in ("balanced", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_smoothed_classifiers_are_less_certain_and_keep_the_link_of_the_loss():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((90, 3))
    y = np.arange(90) % 3
    X[np.arange(90), y] += 4.0
    options = {"hidden_layer_sizes": (8,), "max_iter": 60, "random_state": 0}
    plain = BCDClassifier(**options).fit(X, y)
    smooth = BCDClassifier(**options, loss="cross_entropy:0.3").fit(X, y)
    assert smooth.model_.loss == "cross_entropy"
    largest = smooth.predict_proba(X).max(axis=1)
    # The least expected loss is at 1 - 0.3 + 0.3/3 for the class that is right.
    assert np.median(largest) == pytest.approx(0.8, abs=0.05)
    assert np.median(plain.predict_proba(X).max(axis=1)) > 0.9
    outputs = smooth.decision_function(X)
    np.testing.assert_array_equal(
        probabilities("cross_entropy:0.3", outputs), probabilities("cross_entropy", outputs)
    )
    with pytest.raises(InputError, match="smoothing must be from 0 to below 1, got 2"):
        BCDClassifier(loss="cross_entropy:2").fit(X, y)
