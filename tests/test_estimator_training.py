"""Training of estimators: weights, streams, early stopping, warm starts, seeds."""

import pickle
import re

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_classification
from sklearn.metrics import log_loss, recall_score

from fastbcd import BCDClassifier, BCDRegressor, InputError, Problem, ThreeSplitting, one_hot
from fastbcd.callbacks.held_out import HeldOut
from fastbcd.training.loop import network_of

IRIS = load_iris(return_X_y=True)


def quick(**options):
    return BCDClassifier(
        **{"hidden_layer_sizes": (16,), "max_iter": 10, "random_state": 0} | options
    )


def weights(estimator):
    return np.concatenate([W.ravel() for W in estimator.network_.W])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_order_of_samples_changes_no_bit_and_weights_are_repetitions(early_stopping):
    X, y = IRIS
    rng = np.random.default_rng(0)
    weight, order = rng.integers(1, 4, 150), rng.permutation(150)
    copies = rng.permutation(np.repeat(np.arange(150), weight))

    def fitted(*data):
        return weights(quick(early_stopping=early_stopping).fit(*data))

    plain, weighted = fitted(X, y), fitted(X, y, weight)
    np.testing.assert_array_equal(plain, fitted(X[order], y[order]))
    np.testing.assert_array_equal(weighted, fitted(X[copies], y[copies]))
    np.testing.assert_array_equal(weighted, fitted(X[order], y[order], 3.0 * weight[order]))
    assert (plain != weighted).any()


def test_a_regressor_s_weights_are_repetitions_too():
    X, y = load_diabetes(return_X_y=True)
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    copies = np.repeat(np.arange(len(X)), weight)
    options = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    a = BCDRegressor(**options).fit(X, y, weight)
    b = BCDRegressor(**options).fit(X[copies], y[copies])
    np.testing.assert_array_equal(a.predict(X), b.predict(X))
    assert a.model_.target_shift[0] == pytest.approx(np.average(y, weights=weight))


def test_balanced_classes_find_the_rare_one():
    X, y = make_classification(
        *(3000, 10), weights=[0.95], class_sep=0.5, flip_y=0.05, random_state=0
    )
    train, test = slice(2000), slice(2000, None)
    recall = {
        weight: recall_score(
            y[test], quick(class_weight=weight).fit(X[train], y[train]).predict(X[test])
        )
        for weight in (None, "balanced")
    }
    assert recall["balanced"] > recall[None] + 0.2
    n0, n1 = np.bincount(y[train])
    explicit = {0: 2000 / (2 * n0), 1: 2000 / (2 * n1)}
    np.testing.assert_allclose(
        weights(quick(class_weight=explicit).fit(X[train], y[train])),
        weights(quick(class_weight="balanced").fit(X[train], y[train])),
    )


def test_early_stopping_keeps_the_best_weights_of_what_it_held_out():
    X, y = load_digits(return_X_y=True)
    classifier = quick(max_iter=60, early_stopping=True, n_iter_no_change=4, schedule="constant")
    classifier.fit(X, y)
    losses, scores = classifier.validation_loss_curve_, classifier.validation_scores_
    assert len(losses) == len(scores) == classifier.n_iter_ < 60
    assert classifier.best_validation_score_ == scores[np.argmin(losses)] > 0.85
    assert min(losses[-4:]) >= min(losses[:-4]) - classifier.tol
    assert classifier.best_loss_ is None
    longer = quick(max_iter=60, early_stopping=True, n_iter_no_change=60, schedule="constant")
    longer.fit(X, y)
    assert longer.n_iter_ == 60
    assert longer.validation_loss_curve_[: len(losses)] == losses


def test_the_validation_loss_is_the_weighted_log_loss_or_the_mean_loss_in_scaled_units():
    X, y = IRIS
    X, weight = X.astype(np.float32), np.linspace(1.0, 3.0, len(y))
    for loss in ("cross_entropy", "cross_entropy:0.2", "squared"):
        fitted = quick(loss=loss).fit(X, y)
        scaled = fitted.model_.preprocessing(X, np.float32)
        measured = {}
        held_out = HeldOut(scaled, one_hot(y), weight, fitted._score)
        solver = ThreeSplitting(Problem((4, 8, 3), loss=loss))
        state = solver.init(scaled, one_hot(y))
        held_out.on_iteration(solver, state, measured)
        outputs = network_of(solver, state).forward(scaled).astype(np.float64)
        if loss == "squared":
            each = 0.5 * ((outputs - one_hot(y)) ** 2).sum(axis=1)
            expected = np.average(each, weights=weight)
        else:
            expected = log_loss(y, softmax(outputs, axis=1), sample_weight=weight)
        assert measured["validation_loss"] == pytest.approx(expected, rel=1e-6)
        right = outputs.argmax(axis=1) == y
        assert measured["validation_score"] == pytest.approx(np.average(right, weights=weight))


@pytest.mark.parametrize("solver", ["mini-batch", "three-splitting", "two-splitting"])
def test_a_warm_start_goes_on_from_the_weights(solver):
    X, y = IRIS
    options = {"solver": solver, "loss": "squared", "warm_start": True, "max_iter": 5}
    warm = quick(**options).fit(X, y)
    first, scale = weights(warm), warm.model_.preprocessing
    warm.fit(X[:140], y[:140])
    assert warm.n_iter_ == len(warm.loss_curve_) == 10
    start, end, again = (warm.loss_curve_[i] for i in (0, 4, 5))
    assert abs(again - end) < 0.5 * (start - end)
    assert warm.model_.preprocessing is scale
    cold = quick(**options | {"warm_start": False}).fit(X, y)
    np.testing.assert_array_equal(weights(cold), first)
    assert weights(cold.fit(X, y)).tolist() == first.tolist()


def test_a_warm_start_wants_the_same_classes_features_and_network():
    X, y = IRIS
    warm = quick(warm_start=True).fit(X, y)
    with pytest.raises(InputError, match="y has the classes"):
        warm.fit(X[:100], y[:100])
    with pytest.raises(ValueError, match="X has 3 features"):
        warm.fit(X[:, :3], y)
    with pytest.raises(InputError, match=r"hidden_layer_sizes: .* widths \(4, 16, 3\)"):
        warm.set_params(hidden_layer_sizes=(8,)).fit(X, y)


def test_a_stream_is_learned_and_goes_on_after_a_pickle():
    X, y = load_digits(return_X_y=True)
    stream, parts = BCDClassifier((32,), random_state=0), range(0, 1500, 50)
    for _ in range(5):
        for start in parts:
            rows = slice(start, start + 50)
            stream.partial_fit(X[rows], y[rows], classes=range(10))
    assert stream.score(X[1500:], y[1500:]) > 0.88
    assert stream.n_iter_ == len(stream.loss_curve_) == 150
    copy = pickle.loads(pickle.dumps(stream))
    assert len(pickle.dumps(stream)) < 3e5  # nothing of the samples
    for estimator in (stream, copy):
        estimator.partial_fit(X[:50], y[:50])
    np.testing.assert_array_equal(weights(stream), weights(copy))


def test_a_long_part_of_a_stream_is_taken_in_batches():
    X, y = load_digits(return_X_y=True)
    whole, parts = (BCDClassifier((16,), batch_size=100, random_state=0) for _ in range(2))
    whole.partial_fit(X[:100], y[:100], classes=range(10)).partial_fit(X[100:400], y[100:400])
    for start in (0, 100, 200, 300):
        parts.partial_fit(X[start : start + 100], y[start : start + 100], classes=range(10))
    np.testing.assert_array_equal(weights(whole), weights(parts))


def test_a_stream_may_follow_a_fit():
    X, y = IRIS
    classifier = quick(max_iter=40).fit(X, y)
    before = classifier.score(X, y)
    first = weights(classifier)
    classifier.partial_fit(X, y)
    assert classifier.score(X, y) > before - 0.03
    assert 0 < np.abs(weights(classifier) - first).max() < 0.5
    assert classifier.n_iter_ == 41
    regressor = BCDRegressor((8,), random_state=0).partial_fit(X[:, :3], X[:, 3])
    for _ in range(150):
        regressor.partial_fit(X[:, :3], X[:, 3])
    assert regressor.score(X[:, :3], X[:, 3]) > 0.85


def test_streams_refuse_what_has_no_meaning_for_them():
    X, y = IRIS
    with pytest.raises(InputError, match="classes: the first call of partial_fit needs all"):
        quick().partial_fit(X, y)
    with pytest.raises(InputError, match="X has 1 sample, but the first call fixes the scaling"):
        quick().partial_fit(X[:1], y[:1], classes=[0, 1, 2])
    started = quick().partial_fit(X[:100], y[:100], classes=[0, 1, 2])
    with pytest.raises(InputError, match="classes: they were"):
        started.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(InputError, match="label 5 does not occur"):
        started.partial_fit(X, y + 5)
    with pytest.raises(InputError, match="schedule: partial_fit takes a stream without an end"):
        quick(schedule="cosine").partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(InputError, match="class_weight: a part of a stream does not show"):
        quick(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    assert not hasattr(quick(solver="three-splitting"), "partial_fit")


def test_seeds():
    X, y = IRIS
    same = [weights(quick(random_state=s).fit(X, y)) for s in (3, 3, np.random.RandomState(3))]
    np.testing.assert_array_equal(same[0], same[1])
    np.testing.assert_array_equal(same[0], same[2])
    assert (weights(quick(random_state=4).fit(X, y)) != same[0]).any()
    generator = np.random.RandomState(3)
    again = [weights(quick(random_state=generator).fit(X, y)) for _ in range(2)]
    assert (again[0] != again[1]).any()
    free = [weights(quick(random_state=None).fit(X, y)) for _ in range(2)]
    assert (free[0] != free[1]).any()


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_change_no_bit(n_threads):
    X, y = load_digits(return_X_y=True)
    options = {"hidden_layer_sizes": (300,), "batch_size": 600, "max_iter": 2}
    default = quick(**options).fit(X, y)
    given = quick(n_threads=n_threads, **options).fit(X, y)
    np.testing.assert_array_equal(weights(default), weights(given))
    np.testing.assert_array_equal(default._outputs(X), given._outputs(X))


def test_a_regressor_does_not_depend_on_the_unit_of_its_targets():
    X, y = load_diabetes(return_X_y=True)
    Y = np.c_[y, 1e6 * y - 7e8, 1e-6 * y, np.full(len(y), 3.5)]
    regressor = BCDRegressor((16,), dtype="float64", max_iter=10, random_state=0).fit(X, Y)
    predicted = regressor.predict(X)
    assert predicted.shape == Y.shape
    r2 = 1 - np.mean((predicted - Y) ** 2, axis=0)[:3] / np.var(Y, axis=0)[:3]
    assert (r2 > 0.4).all()
    np.testing.assert_allclose(r2, r2[0], atol=0.05)
    np.testing.assert_allclose(predicted[:, 3], 3.5, atol=1)
    assert regressor.predict(X[:5]).dtype == np.float64
    with pytest.raises(InputError, match="y: its numbers are too large to scale"):
        regressor.fit(X, 1e200 * y)


def test_inputs_that_say_nothing_give_the_mean():
    regressor = BCDRegressor((8,), max_iter=3, random_state=0)
    regressor.fit(np.ones((10, 2)), np.arange(10.0))  # warnings are errors
    np.testing.assert_allclose(regressor.predict(np.ones((2, 2))), 4.5, atol=0.1)


def test_verbose_says_how_training_gets_on(capsys):
    quick().fit(*IRIS)
    assert capsys.readouterr().err == ""
    quick(verbose=True, early_stopping=True).fit(*IRIS)
    assert re.fullmatch(
        r"iteration 10 of 10, [\d.]+ s, loss [\d.]+, "
        r"validation loss [\d.]+, validation [\d.]+",
        capsys.readouterr().err.splitlines()[-1],
    )
