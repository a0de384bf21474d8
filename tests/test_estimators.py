"""Estimators within scikit-learn: pipelines, searches, stacks, data frames, pickles."""

import os
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

import fastbcd
from fastbcd import (
    BCDClassifier,
    BCDRegressor,
    InputError,
    Model,
    Problem,
    ThreeSplitting,
    TwoSplitting,
)
from fastbcd.cli.solver_options import FULL_BATCH_DEFAULTS, MINI_BATCH_OPTIONS
from fastbcd.devices import CPU
from fastbcd.estimators.solvers import FULL_BATCH_USUAL, MINI_BATCH_ONLY
from fastbcd.solvers.continuation import continue_from
from fastbcd.solvers.defaults import ACCELERATION, ITERATIONS
from fastbcd.training.loop import network_of


def quick(**options):
    return BCDClassifier(
        **{"hidden_layer_sizes": (16,), "max_iter": 10, "random_state": 0} | options
    )


def threads(estimator, X, y):
    """A scorer that counts the threads that a solver and BLAS would use in this process."""
    blas = [library["num_threads"] for library in threadpool_info()]
    return float(max(CPU().n_threads, *blas))


def process(estimator, X, y):
    return float(os.getpid())


def test_a_grid_search_in_two_processes_shares_the_processors_and_scores_as_in_one():
    X, y = load_digits(return_X_y=True)
    grid = {
        "hidden_layer_sizes": [(24,), (32, 32)],
        "batch_size": [None, 100],
    }
    searches = [
        GridSearchCV(
            quick(max_iter=5),
            grid,
            cv=3,
            n_jobs=n_jobs,
            scoring={"accuracy": "accuracy", "threads": threads, "process": process},
            refit="accuracy",
        ).fit(X, y)
        for n_jobs in (1, 2)
    ]
    one, two = (search.cv_results_ for search in searches)
    for split in range(3):
        np.testing.assert_array_equal(
            one[f"split{split}_test_accuracy"], two[f"split{split}_test_accuracy"]
        )
    assert searches[0].best_params_ == searches[1].best_params_
    assert searches[1].best_score_ > 0.85
    assert one["split0_test_process"][0] == os.getpid()
    assert two["split0_test_process"][0] != os.getpid()
    for split in range(3):
        assert (2 * two[f"split{split}_test_threads"] <= max(joblib.cpu_count(), 2)).all()


def test_cross_validation_and_a_pipeline_with_named_columns():
    X, y = load_iris(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), quick(max_iter=60)).set_output(transform="pandas")
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.85
    pipeline.fit(X, y)
    assert list(pipeline[-1].feature_names_in_) == list(X.columns)
    assert pipeline[-1].model_.feature_names == list(X.columns)


def test_a_stack_of_classifiers():
    X, y = load_iris(return_X_y=True)
    hinge = quick(loss="hinge", max_iter=40)
    stack = StackingClassifier(
        [("a", quick(max_iter=40)), ("b", hinge), ("c", quick(loss="squared"))],
        LogisticRegression(),
        cv=3,
    )
    assert stack.fit(X, y).score(X, y) > 0.93
    assert stack.stack_method_ == ["predict_proba", "decision_function", "predict_proba"]


def test_data_frames_must_have_the_columns_of_training_in_their_order():
    X, y = load_iris(return_X_y=True, as_frame=True)
    classifier = quick().fit(X, y)
    np.testing.assert_array_equal(classifier.feature_names_in_, X.columns)
    with pytest.raises(ValueError, match="must be in the same order"):
        classifier.predict(X[X.columns[::-1]])
    with pytest.raises(ValueError, match="unseen at fit time"):
        classifier.predict(X.rename(columns={X.columns[0]: "other"}))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        classifier.predict(X.to_numpy())


def test_labels_of_a_series_and_numbers_of_a_frame():
    X, y = load_iris(return_X_y=True, as_frame=True)
    names = pd.Series(np.array(["a", "b", "c"])[y])
    assert set(quick().fit(X, names).predict(X)) <= {"a", "b", "c"}
    targets = pd.DataFrame({"length": X.iloc[:, 0], "width": X.iloc[:, 1]})
    regressor = BCDRegressor((16,), random_state=0).fit(X, targets)
    assert regressor.predict(X).shape == (150, 2)
    assert regressor.score(X, targets) > 0.95


def test_pickles_predict_the_same_and_clones_are_not_fitted():
    X, y = load_iris(return_X_y=True)
    for estimator in (quick(), BCDRegressor((16,), max_iter=10, random_state=0)):
        estimator.fit(X, y)
        copy = pickle.loads(pickle.dumps(estimator))
        np.testing.assert_array_equal(copy.predict(X), estimator.predict(X))
        fresh = clone(estimator)
        assert fresh.get_params() == estimator.get_params()
        assert not hasattr(fresh, "model_")


def test_a_regressor_within_a_transformed_target():
    X, y = load_diabetes(return_X_y=True)
    model = TransformedTargetRegressor(
        BCDRegressor((16,), random_state=0), func=np.log, inverse_func=np.exp
    )
    assert cross_val_score(model, X, y, cv=3).mean() > 0.3


@pytest.mark.parametrize("solver", ["mini-batch", "three-splitting", "two-splitting"])
def test_the_model_is_the_estimator_without_scikit_learn(solver):
    X, y = load_iris(return_X_y=True)
    names = np.array(["x", "y", "z"])[y]
    options = {} if solver == "mini-batch" else {"loss": "squared"}
    classifier = quick(solver=solver, max_iter=20, **options).fit(X, names)
    assert isinstance(classifier.model_, Model)
    np.testing.assert_array_equal(classifier.model_.predict(X), classifier.predict(X))
    assert classifier.network_ is classifier.model_.network
    assert (classifier.n_layers_, classifier.n_outputs_, classifier.n_iter_) == (3, 3, 20)
    assert len(classifier.loss_curve_) == 20
    assert classifier.loss_curve_[-1] < classifier.loss_curve_[0]
    assert classifier.loss_ == classifier.loss_curve_[-1]
    assert classifier.best_loss_ == min(classifier.loss_curve_)


def test_a_model_on_disk_predicts_the_same(tmp_path):
    X, y = load_iris(return_X_y=True)
    classifier = quick().fit(X, y)
    classifier.model_.save(tmp_path / "model.safetensors")
    loaded = Model.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), classifier.predict(X))
    np.testing.assert_allclose(loaded.predict_proba(X), classifier.predict_proba(X), atol=1e-5)
    regressor = BCDRegressor((8,), max_iter=5, random_state=0).fit(X, X[:, :2])
    regressor.model_.save(tmp_path / "numbers.safetensors")
    numbers = Model.load(tmp_path / "numbers.safetensors").predict(X)
    np.testing.assert_allclose(numbers, regressor.predict(X), atol=1e-4)


@pytest.mark.parametrize("solver", [ThreeSplitting, TwoSplitting])
def test_a_state_that_goes_on_is_the_one_that_init_makes(solver):
    X = np.random.default_rng(0).standard_normal((700, 9))
    problem = Problem((9, 40, 40, 3), residual=solver is ThreeSplitting)
    made = solver(problem, n_threads=2, tile_rows=64)
    first, second = (made.init(X, np.eye(3)[np.arange(700) % 3], seed=seed) for seed in (0, 1))
    continue_from(made, second, network_of(made, first).W)
    for name in ("W", "U", "V"):
        for a, b in zip(getattr(first, name), getattr(second, name), strict=True):
            np.testing.assert_array_equal(a, b)


def test_usual_values_of_full_batches_are_those_of_the_command_line():
    assert FULL_BATCH_DEFAULTS["alpha"] == FULL_BATCH_USUAL["proximal_weight"]
    assert FULL_BATCH_DEFAULTS["acceleration"] == ACCELERATION
    assert FULL_BATCH_DEFAULTS["weight_penalty"] == FULL_BATCH_USUAL["weight_penalty"]
    assert FULL_BATCH_DEFAULTS["epochs"] == ITERATIONS
    assert set(MINI_BATCH_OPTIONS) | {"batch_size"} == set(MINI_BATCH_ONLY)


def test_the_names_are_there_without_the_import():
    assert {"BCDClassifier", "BCDRegressor"} <= set(dir(fastbcd)) & set(fastbcd.__all__)
    with pytest.raises(AttributeError, match="no attribute 'BCD'"):
        fastbcd.BCD  # noqa: B018


REFUSED = [
    ({"proximal_weight": 1e-3}, "proximal_weight belongs to the solver three-splitting"),
    ({"state_penalty": "l1:1"}, "state_penalty belongs to the solver"),
    (
        {"solver": "three-splitting", "batch_size": 10},
        "batch_size belongs to the solver mini",
    ),
    ({"solver": "two-splitting", "average": 0.5}, "average belongs to the solver mini-batch"),
    ({"solver": "adam"}, "solver must be one of mini-batch, three-splitting"),
    ({"solver": "two-splitting", "loss": "squared", "residual": True}, "residual"),
    ({"hidden_layer_sizes": "10"}, "hidden_layer_sizes must be whole numbers"),
    ({"hidden_layer_sizes": (10, 0)}, "hidden_layer_sizes must be an integer of at least 1"),
    ({"activation": "rely"}, "activation: unknown name 'rely'"),
    ({"activation": None}, "activation must be a name or a Formula, got None"),
    ({"class_weight": {0: -1.0}}, "class_weight must be finite and not negative"),
    ({"loss": "logistic"}, "logistic is for two classes"),
    ({"max_iter": 0}, "max_iter must be an integer of at least 1"),
    ({"preprocess": "whiten"}, "preprocess must be one of"),
    ({"dtype": "float16"}, "dtype must be one of"),
    ({"early_stopping": True, "validation_fraction": 1.0}, "validation_fraction must lie between"),
    ({"early_stopping": True, "n_iter_no_change": 0}, "n_iter_no_change"),
    ({"n_threads": 0}, "n_threads must be an integer of at least 1"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_wrong_parameters_and_those_of_another_solver_are_errors(options, message):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(InputError, match=message):
        quick(**options).fit(X, y)
