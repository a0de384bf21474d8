"""`acceleration` of estimators: full batches have it by default, and descend faster with it."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits

from fastbcd import BCDClassifier, BCDRegressor, InputError, Problem, ThreeSplitting, one_hot
from fastbcd.callbacks import Objective

FULL_BATCH = ("three-splitting", "two-splitting")
X, Y = (array[:400] for array in load_digits(return_X_y=True))


def quick(solver, **options):
    usual = {"loss": "squared", "max_iter": 12, "random_state": 0}
    return BCDClassifier((16,), solver=solver, **usual | options)


def weights(estimator):
    return np.concatenate([W.ravel() for W in estimator.network_.W])


@pytest.mark.parametrize("solver", FULL_BATCH)
def test_an_accelerated_fit_never_rises_and_falls_further_than_a_plain_one(solver):
    accelerated = quick(solver, max_iter=30).fit(X, Y)
    plain = quick(solver, max_iter=30, acceleration=None).fit(X, Y)
    curve = accelerated.loss_curve_
    assert (np.diff(curve) < 0.0).all()
    assert (np.diff(plain.loss_curve_) < 0.0).all()
    assert curve[0] == plain.loss_curve_[0]  # there is no last step yet
    assert curve[-1] < 0.75 * plain.loss_curve_[-1]
    assert accelerated.n_iter_ == plain.n_iter_ == len(curve) == 30
    assert accelerated.loss_ == accelerated.best_loss_ == curve[-1]


def test_a_regressor_falls_further_too():
    X, y = load_diabetes(return_X_y=True)
    options = {"solver": "three-splitting", "max_iter": 30, "random_state": 0}
    accelerated = BCDRegressor((16,), **options).fit(X, y)
    plain = BCDRegressor((16,), acceleration=None, **options).fit(X, y)
    assert (np.diff(accelerated.loss_curve_) < 0.0).all()
    assert accelerated.loss_ < plain.loss_


@pytest.mark.parametrize(("acceleration", "own"), [("auto", "nesterov"), (None, None)])
def test_it_is_the_acceleration_of_the_solver(acceleration, own):
    estimator = quick("three-splitting", acceleration=acceleration, preprocess="none")
    estimator.fit(X, Y)
    problem = Problem((64, 16, 10), weight_penalty="ridge:3e-4")
    solver = ThreeSplitting(problem, alpha=1e-3, acceleration=own)
    result = solver.fit(X, one_hot(Y), max_iter=12, seed=estimator._seed(), callbacks=[Objective()])
    assert [row["objective"] for row in result.history] == estimator.loss_curve_
    for found, expected in zip(estimator.network_.W, result.network.W, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("solver", FULL_BATCH)
def test_the_default_of_full_batches_is_nesterov_and_of_mini_batches_none(solver):
    usual = weights(quick(solver).fit(X, Y))
    np.testing.assert_array_equal(weights(quick(solver, acceleration="nesterov").fit(X, Y)), usual)
    assert (weights(quick(solver, acceleration=None).fit(X, Y)) != usual).any()
    batches = quick("mini-batch", max_iter=2)
    again = clone(batches).set_params(acceleration=None)
    np.testing.assert_array_equal(weights(batches.fit(X, Y)), weights(again.fit(X, Y)))


def test_a_clone_and_a_pickle_keep_it_and_set_params_changes_it():
    estimator = quick("three-splitting", acceleration=None)
    for copy in (clone(estimator), pickle.loads(pickle.dumps(estimator))):
        assert copy.get_params()["acceleration"] is None
    plain, usual = weights(estimator.fit(X, Y)), weights(quick("three-splitting").fit(X, Y))
    np.testing.assert_array_equal(weights(clone(estimator).fit(X, Y)), plain)
    estimator.set_params(acceleration="nesterov").fit(X, Y)
    np.testing.assert_array_equal(weights(estimator), usual)


@pytest.mark.parametrize("solver", FULL_BATCH)
def test_a_warm_start_may_change_it_and_no_momentum_is_left_from_before(solver):
    first = quick(solver, warm_start=True).fit(X, Y)
    same, other = (pickle.loads(pickle.dumps(first)) for _ in range(2))
    np.testing.assert_array_equal(weights(first.fit(X, Y)), weights(same.fit(X, Y)))
    other.set_params(acceleration=None).fit(X, Y)
    curve, plain = first.loss_curve_[12:], other.loss_curve_[12:]
    assert curve[0] == plain[0]
    assert curve[-1] < plain[-1]
    assert (np.diff(curve) < 0.0).all()


@pytest.mark.parametrize("solver", FULL_BATCH)
def test_weights_of_samples_are_copies_to_the_last_bit(solver):
    counts = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = quick(solver).fit(X, Y, counts)
    copied = quick(solver).fit(np.repeat(X, counts, axis=0), np.repeat(Y, counts))
    np.testing.assert_array_equal(weights(weighted), weights(copied))
    assert weighted.loss_curve_ == copied.loss_curve_
    assert (np.diff(weighted.loss_curve_) < 0.0).all()


def test_an_estimator_that_an_earlier_version_pickled_goes_on_without():
    old = quick("three-splitting", acceleration=None, warm_start=True).fit(X, Y)
    stored = dict(old.__getstate__())
    del stored["acceleration"]
    again = BCDClassifier.__new__(BCDClassifier)
    again.__setstate__(stored)
    np.testing.assert_array_equal(again.predict_proba(X), old.predict_proba(X))
    np.testing.assert_array_equal(weights(again.fit(X, Y)), weights(old.fit(X, Y)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "three-splitting", "acceleration": "heavy-ball"}, "must be one of auto, nest"),
        ({"solver": "mini-batch", "acceleration": "nesterov"}, "belongs to the solver three-split"),
        ({"solver": "mini-batch", "acceleration": False}, "must be one of auto, nesterov"),
    ],
)
def test_a_wrong_value_and_one_for_mini_batches_are_errors(options, message):
    with pytest.raises(InputError, match=f"^acceleration {message}"):
        quick(**options).fit(X, Y)
    if options["solver"] == "mini-batch":
        with pytest.raises(InputError, match=f"^acceleration {message}"):
            quick(**options).partial_fit(X, Y, classes=range(10))
