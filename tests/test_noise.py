"""Dropout and noise on inputs in mini-batches: gradients, means, bits, and what is refused."""

import json

import numpy as np
import pytest
from batches import memory_mapped
from command import fastbcd
from sklearn.datasets import load_digits
from test_augmentation import StopAfter, network, weights

from fastbcd import (
    BCDClassifier,
    InputError,
    MiniBatchThreeSplitting,
    Problem,
    ThreeSplitting,
    one_hot,
    resume,
)
from fastbcd.callbacks import SaveCheckpoint
from fastbcd.solvers.mini_batch.noise import Noise

RNG = np.random.default_rng(0)
X = RNG.standard_normal((96, 5))
Y = one_hot(RNG.integers(3, size=96), 3)
PROBLEM = Problem((5, 9, 7, 3), "tanh")
BOTH = {"dropout": 0.4, "input_noise": 0.3}


def solver_of(problem=PROBLEM, **options):
    return MiniBatchThreeSplitting(
        problem, **{"batch_size": 32, "dtype": "float64", "n_threads": 1, "tile_rows": 8, **options}
    )


@pytest.mark.parametrize("given", [BOTH, {"dropout": 0.6}, {"input_noise": 0.5}], ids=list)
def test_small_updates_follow_the_gradient_of_the_network_with_these_masks(given):
    """The gradient is written again, by the chain rule; W follows it without metric, momentum."""
    solver = solver_of(
        rank=0, momentum=0.0, damping=1e6, displacement=1e-6, weight_decay=0, rho=1e7, **given
    )
    state = solver.init(X, Y, passes=2)
    W = [None, *(w.copy() for w in state.weights)]
    before = state.rng.bit_generator.state
    noise = solver.noise.draw(int(state.rng.integers(2**63)), 32, slice(0, 32), np.float64)
    state.rng.bit_generator.state = before
    solver.partial_fit(state, X[:32], Y[:32])

    ones = np.ones((32, 1))
    mask = [1.0 if m is None else m for m in [*noise.masks, None]]
    V = [X[:32] + (0.0 if noise.inputs is None else noise.inputs)]
    for l in (1, 2):
        V.append(mask[l] * np.tanh(np.hstack([V[-1], ones]) @ W[l].T))
    slope = np.hstack([V[2], ones]) @ W[3].T - Y[:32]
    for l in (3, 2, 1):
        gradient = slope.T @ np.hstack([V[l - 1], ones])
        step = state.weights[l - 1] - W[l]
        cosine = -(gradient * step).sum() / np.linalg.norm(gradient) / np.linalg.norm(step)
        assert cosine > 1 - 1e-5, l
        if l > 1:
            active = V[l - 1] / np.where(mask[l - 1] == 0, 1, mask[l - 1])
            slope = mask[l - 1] * (1 - active**2) * (slope @ W[l][:, :-1])


def test_masks_and_noise_have_their_mean_and_spread():
    noise = solver_of(Problem((50, 400, 300, 3)), **BOTH).noise.draw(3, 500, slice(0, 500), X.dtype)
    assert noise.masks[0] is noise.masks[3] is None
    for l, width in ((1, 400), (2, 300)):
        assert noise.masks[l].shape == (500, width)
        np.testing.assert_allclose(np.unique(noise.masks[l]), [0, 1 / 0.6])
        assert (noise.masks[l] == 0).mean() == pytest.approx(0.4, abs=0.01)
    assert noise.inputs.mean() == pytest.approx(0, abs=0.01)
    assert noise.inputs.std() == pytest.approx(0.3, rel=0.01)
    other = solver_of(Problem((50, 400, 300, 3)), **BOTH).noise.draw(4, 500, slice(0, 9), X.dtype)
    assert (other.masks[1] != noise.masks[1][:9]).any()


def test_ranks_draw_the_numbers_of_one_process():
    noise = solver_of(**BOTH).noise
    whole, part = (noise.draw(7, 30, rows, X.dtype) for rows in (slice(0, 30), slice(11, 23)))
    np.testing.assert_array_equal(part.inputs, whole.inputs[11:23])
    for l in (1, 2):
        np.testing.assert_array_equal(part.masks[l], whole.masks[l][11:23])


def test_convolutions_and_pools_have_no_masks():
    problem = network("conv:4:3,maxpool:2x1,dense:8,dense:6")
    noise = solver_of(problem, dropout=0.5).noise.draw(0, 4, slice(0, 4), X.dtype)
    assert [mask is not None for mask in noise.masks] == [False, False, False, True, True, False]


def test_threads_and_files_change_no_bit_and_zero_is_the_run_without(tmp_path):
    one = solver_of(**BOTH).fit(X, Y, max_iter=3)
    for given in ((X, Y), memory_mapped(tmp_path, X=X, Y=Y)):
        assert weights(solver_of(**BOTH, n_threads=2).fit(*given, max_iter=3)) == weights(one)
    plain = solver_of().fit(X, Y, max_iter=3)
    assert weights(solver_of(dropout=0, input_noise=0).fit(X, Y, max_iter=3)) == weights(plain)
    assert weights(plain) != weights(one)
    # F is that of the whole network, without noise.
    assert solver_of(**BOTH).objective(one.state) == solver_of().objective(one.state)


def test_a_resumed_run_draws_the_same_numbers_and_no_others(tmp_path):
    path = tmp_path / "c.safetensors"
    whole = solver_of(**BOTH).fit(X, Y, max_iter=4)
    solver_of(**BOTH).fit(X, Y, max_iter=4, callbacks=[StopAfter(2), SaveCheckpoint(path)])
    assert weights(resume(path, solver_of(**BOTH), X, Y)) == weights(whole)
    with pytest.raises(InputError, match=r"dropout was 0\.4 there, and is 0\.0 here$"):
        resume(path, solver_of(input_noise=0.3), X, Y)


def test_both_help_a_large_network_on_few_samples_with_wrong_labels():
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    labels = y[:400].copy()
    labels[rng.permutation(400)[:80]] = rng.integers(10, size=80)

    def log_loss(**given):
        estimator = BCDClassifier((256, 256), max_iter=40, random_state=0, **given)
        p = estimator.fit(X[:400], labels).predict_proba(X[400:])
        return -np.log(np.maximum(p[np.arange(len(p)), y[400:]], 1e-9)).mean()

    plain = log_loss()
    assert log_loss(dropout=0.5) < 0.85 * plain
    assert log_loss(input_noise=1.0) < 0.85 * plain


@pytest.mark.parametrize(
    ("given", "problem", "message"),
    [
        ({"dropout": 1.0}, PROBLEM, "^dropout must be a number from 0 to 0.999999, got 1.0"),
        ({"dropout": -0.1}, PROBLEM, "^dropout must be a number"),
        ({"dropout": "half"}, PROBLEM, "^dropout must be a number, got 'half'"),
        ({"input_noise": -1}, PROBLEM, "^input_noise must be a number from 0"),
        (
            {"dropout": 0.5},
            Problem((5, 5, 5, 3), residual=True),
            "^dropout does not go with residual layers",
        ),
    ],
)
def test_what_cannot_be_done_is_said(given, problem, message):
    with pytest.raises(InputError, match=message):
        solver_of(problem, **given)


def test_a_gpu_has_neither():
    class Card:
        name = "cuda"

    for given in ({"dropout": 0.5, "inputs": 0.0}, {"dropout": 0.0, "inputs": 0.1}):
        with pytest.raises(InputError, match=r"runs on the processor only; give device='cpu'"):
            Noise.of(PROBLEM, Card(), **given)


def test_estimators_and_the_command_line_have_both(tmp_path):
    options = {"hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}
    labels = Y.argmax(axis=1)
    plain, noisy = (BCDClassifier(**options, **more).fit(X, labels) for more in ({}, BOTH))
    assert (plain.predict_proba(X) != noisy.predict_proba(X)).any()
    with pytest.raises(InputError, match="^dropout belongs to the solver mini-batch"):
        BCDClassifier(**options, solver="three-splitting", dropout=0.5).fit(X, labels)
    with pytest.raises(TypeError, match="dropout"):
        ThreeSplitting(PROBLEM, dropout=0.5)
    run = ("train", "--hidden", "8", "--epochs", 2, "--quiet", "--out", "run")
    fastbcd(*run, "--dropout", 0.2, "--input-noise", 0.1, cwd=tmp_path)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["dropout"], config["input_noise"]) == (0.2, 0.1)
