"""Weights of samples in estimators, whichever solver trains: ratios, copies, classes, ensembles."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor, BaggingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import estimator_checks_generator

from fastbcd import BCDClassifier, BCDRegressor, InputError

SOLVERS = ("mini-batch", "three-splitting", "two-splitting")
X, Y = load_iris(return_X_y=True)
RNG = np.random.default_rng(0)
COUNTS = RNG.integers(0, 4, size=150)
COPIES = np.repeat(np.arange(150), COUNTS)


def classifier(solver, **options):
    options = {"loss": "squared", "max_iter": 4, "random_state": 0} | options
    return BCDClassifier((8,), solver=solver, **options)


def weights(estimator):
    return [W.tobytes() for W in estimator.network_.W]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", [BCDClassifier, BCDRegressor])
def test_scikit_learns_checks_of_weights_hold(kind, solver):
    estimator = kind((8,), solver=solver, max_iter=5)
    ran = []
    for one, check in estimator_checks_generator(estimator):
        name = str(getattr(check, "func", check).__name__)
        if "sample_weight" in name:
            check(one)
            ran.append(name)
    assert "check_sample_weight_equivalence_on_dense_data" in ran
    assert len(ran) >= 7


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_weight_is_so_many_copies_in_any_order_to_the_last_bit(solver, early_stopping):
    order = RNG.permutation(len(COPIES))
    for kind in (BCDClassifier, BCDRegressor):
        options = {"solver": solver, "loss": "squared", "early_stopping": early_stopping}
        base = kind((8,), max_iter=4, validation_fraction=0.3, random_state=0, **options)
        weighted = clone(base).fit(X, Y, COUNTS)
        copied = clone(base).fit(X[COPIES][order], Y[COPIES][order])
        assert weights(weighted) == weights(copied)
        assert weighted.loss_curve_ == copied.loss_curve_
        assert weighted.validation_scores_ == copied.validation_scores_


@pytest.mark.parametrize("solver", SOLVERS[1:])
def test_full_batches_take_samples_that_all_differ_in_the_order_given(solver):
    different = X + 1e-3 * np.arange(150)[:, None]
    plain = classifier(solver).fit(different, Y)
    assert weights(classifier(solver).fit(different, Y, 3.0)) == weights(plain)
    rest = COUNTS > 0
    removed = classifier(solver).fit(different[rest], Y[rest])
    assert weights(classifier(solver).fit(different, Y, rest)) == weights(removed)
    order = RNG.permutation(150)
    close = classifier(solver, dtype="float64").fit(different[order], Y[order])
    plain = classifier(solver, dtype="float64").fit(different, Y)
    for a, b in zip(close.network_.W, plain.network_.W, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
def test_weights_of_classes_are_weights_of_their_samples(solver):
    y = np.r_[np.zeros(60, int), np.ones(90, int)]
    given = classifier(solver, class_weight={0: 3.0, 1: 1.0}, dtype="float64", preprocess="none")
    of_samples = classifier(solver, dtype="float64", preprocess="none")
    of_samples.fit(X, y, np.where(y == 0, 3.0, 1.0))
    given.fit(X, y)
    for a, b in zip(given.network_.W, of_samples.network_.W, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)
    n0, n1 = 150 / (2 * 60), 150 / (2 * 90)
    balanced = classifier(solver, class_weight="balanced").fit(X, y)
    assert weights(balanced) == weights(classifier(solver, class_weight={0: n0, 1: n1}).fit(X, y))


@pytest.mark.parametrize("solver", SOLVERS[1:])
def test_what_weighs_more_is_fitted_better(solver):
    y = RNG.integers(2, size=150)  # labels that nothing explains
    weight = np.where(np.arange(150) < 30, 100.0, 0.01)
    fitted = BCDClassifier(
        (32,), solver=solver, loss="squared", activation="tanh", random_state=0, max_iter=100
    ).fit(X, y, weight)
    assert fitted.score(X[:30], y[:30]) > fitted.score(X[30:], y[30:]) + 0.15
    assert all(np.diff(fitted.loss_curve_) <= 1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_ensembles_that_weigh_samples_learn(solver):
    base = BCDClassifier((16,), solver=solver, loss="squared", max_iter=100)
    bagged = BaggingClassifier(base, n_estimators=3, random_state=0).fit(X, Y)
    assert bagged.score(X, Y) > 0.9
    boosted = AdaBoostClassifier(clone(base), n_estimators=3, random_state=0).fit(X, Y)
    assert boosted.score(X, Y) > 0.9
    regressor = BCDRegressor((16,), solver=solver, max_iter=30)
    assert AdaBoostRegressor(regressor, n_estimators=3, random_state=0).fit(X, Y).score(X, Y) > 0.8


def test_searches_hand_weights_to_the_parts_that_they_belong_to():
    search = GridSearchCV(classifier("three-splitting"), {"gamma": [0.1, 1.0]}, cv=3)
    search.fit(X, Y, sample_weight=COUNTS + 0.5)
    best = classifier("three-splitting", **search.best_params_).fit(X, Y, COUNTS + 0.5)
    assert weights(search.best_estimator_) == weights(best)


@pytest.mark.parametrize("solver", SOLVERS[1:])
def test_wrong_weights_are_refused_before_any_work(solver):
    for weight, message in [
        (np.ones(3), "one number for each of 150 samples"),
        (-np.ones(150), "not negative"),
        (np.full(150, np.nan), "finite"),
        (np.zeros(150), "zero for every sample"),
        ((Y == 1).astype(float), "one class"),
    ]:
        with pytest.raises(InputError, match=message):
            classifier(solver).fit(X, Y, weight)
    with pytest.raises(InputError, match="class_weight is zero for every sample"):
        classifier(solver, class_weight={0: 0.0, 1: 0.0, 2: 0.0}).fit(X, Y)
    with pytest.raises(InputError, match="class_weight must be finite"):
        classifier(solver, class_weight={0: -1.0}).fit(X, Y)
