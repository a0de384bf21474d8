"""Data that cannot be learned from are refused with a helpful message, and change nothing."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.utils.validation import check_is_fitted

from fastbcd import BCDClassifier, BCDRegressor, InputError
from fastbcd.data.labels import encode, indices_of

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["a", "b", "c"])[Y]


def quick(**options):
    usual = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    return BCDClassifier(**usual | options)


@pytest.mark.parametrize("first", [NAMES, NAMES.astype(object), pd.Series(NAMES)], ids=type)
def test_texts_are_texts_whatever_type_of_array_they_come_in(first):
    for later in (NAMES, NAMES.astype(object), pd.Series(NAMES)):
        classifier = quick(warm_start=True).fit(X, first)
        classifier.partial_fit(X, later, classes=["a", "b", "c"]).fit(X, later)
        assert classifier.n_iter_ == 7
    with pytest.raises(InputError, match="y: label 'zz' does not occur in the training labels"):
        classifier.partial_fit(X, np.where(Y == 2, "zz", first).astype(object))


def test_numbers_are_texts_in_files_alone():
    with pytest.raises(InputError, match="y: label 1 does not occur"):
        quick().partial_fit(X, Y + 1, classes=["1", "2", "3"])
    with pytest.raises(InputError, match="y: label 'a' does not occur"):
        quick().fit(X, Y).partial_fit(X, NAMES)
    assert quick().fit(X, Y).partial_fit(X, Y.astype(float)).n_iter_ == 4
    texts = np.array(["1", "2", "x"])
    assert encode(np.array([2, 1]), texts, "y").tolist() == [1, 0]
    with pytest.raises(InputError, match="label 2 does not occur"):
        indices_of(np.array([2, 1]), texts, "y")
    with pytest.raises(InputError, match="label 7 does not occur"):
        indices_of(np.array([np.int64(7)], object), np.array([1, 2]), "y")


def test_the_confusion_matrix_names_an_unknown_text():
    pytest.importorskip("matplotlib")
    from fastbcd.plots import plot_confusion

    labels = np.array(["a", "zz"], object)
    with pytest.raises(InputError, match="classes: the label 'zz' is not among them"):
        plot_confusion(labels, labels, classes=np.array(["a", "b"], object))


def test_a_class_whose_samples_all_weigh_0_is_not_there():
    weight = np.where(Y == 0, 0.0, 1.0)
    weighted = quick().fit(X, Y, weight)
    without = quick().fit(X[Y > 0], Y[Y > 0])
    assert weighted.classes_.tolist() == without.classes_.tolist() == [1, 2]
    np.testing.assert_array_equal(weighted.predict_proba(X), without.predict_proba(X))


def test_weights_of_any_size_give_the_same_fit():
    weight = np.random.default_rng(0).integers(1, 4, 150)
    usual = quick().fit(X, Y, weight).predict_proba(X)
    for exponent in (1020, -1000):
        scaled = quick().fit(X, Y, np.ldexp(weight.astype(float), exponent))
        np.testing.assert_array_equal(scaled.predict_proba(X), usual)


def test_class_weights_of_0_are_named():
    nothing = quick(class_weight={0: 0.0, 1: 0.0, 2: 0.0})
    with pytest.raises(InputError, match="^class_weight is zero for every sample"):
        nothing.fit(X, Y)
    with pytest.raises(InputError, match="^class_weight is zero for every sample"):
        nothing.partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(InputError, match="^class_weight: its product with sample_weight"):
        quick(class_weight={0: 1e308}).partial_fit(
            X, Y, classes=[0, 1, 2], sample_weight=np.full(150, 100.0)
        )
    with pytest.raises(InputError, match="^sample_weight is zero for every sample"):
        quick().fit(X, Y, np.zeros(150))


def test_early_stopping_says_what_it_cannot_hold_out():
    copies, labels = np.r_[X[50:100], np.repeat(X[:1], 30, 0)], np.r_[Y[50:100], np.zeros(30)]
    early = {"early_stopping": True}
    with pytest.raises(InputError, match=r"early_stopping: the class 0.0 needs two different samp"):
        quick(**early).fit(copies, labels)
    message = r"validation_fraction=0.1 of 4 {} does not leave two parts with all classes in each"
    four = X[[0, 1, 60, 61]]
    with pytest.raises(
        InputError, match=message.format(r"different samples \(equal ones are one\)")
    ):
        quick(**early).fit(np.repeat(four, 30, axis=0), np.repeat([0, 0, 1, 1], 30))
    full = quick(solver="three-splitting", loss="squared", **early)
    with pytest.raises(InputError, match=message.format("samples")):
        full.fit(four, [0, 0, 1, 1])
    with pytest.raises(InputError, match=r"does not leave two parts; change it"):
        BCDRegressor(validation_fraction=0.99, **early).fit(X[:3], [1.0, 2.0, 3.0])


def test_a_call_that_fails_leaves_an_estimator_as_it_was():
    classifier = quick().fit(X, Y)
    before, predicted = dict(vars(classifier)), classifier.predict(X)
    classifier.set_params(activation="rely")
    for wrong in (
        lambda: classifier.fit(X, Y + 10),
        lambda: classifier.fit(X[:, :2], Y),
        lambda: classifier.partial_fit(X, Y),
    ):
        with pytest.raises(InputError, match="activation: unknown name 'rely'"):
            wrong()
        assert vars(classifier) == before | {"activation": "rely"}
    np.testing.assert_array_equal(classifier.predict(X), predicted)
    fresh = quick(activation="rely")
    with pytest.raises(InputError):
        fresh.fit(X, Y)
    with pytest.raises(ValueError, match="not fitted"):
        check_is_fitted(fresh)
    regressor = BCDRegressor((4,), max_iter=2, random_state=0).fit(X, X[:, 0])
    with pytest.raises(InputError, match="preprocess"):
        regressor.set_params(preprocess="whiten").fit(X, X[:, :2])
    assert regressor.predict(X).shape == (150,)
