"""Labels of every kind, decisions, and the probabilities that belong to a loss."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from fastbcd import BCDClassifier, InputError
from fastbcd.models.probabilities import probabilities

IRIS = load_iris(return_X_y=True)


def quick(**options):
    usual = {"hidden_layer_sizes": (16,), "max_iter": 10, "random_state": 0}
    return BCDClassifier(**usual | options)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["versicolor", "setosa", "virginica"]),
        np.array(["b", "a", "c"], object),
        np.array([0.0, -1.0, 3.0]),
        np.array([True, False, True]),
        np.array([300, 2, 70000]),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_labels_come_back_as_they_were(labels):
    X, y = IRIS[0], labels[IRIS[1]]
    classifier = quick(max_iter=40).fit(X, y)
    assert classifier.classes_.tolist() == sorted(set(labels.tolist()))
    predicted = classifier.predict(X)
    assert predicted.dtype == y.dtype
    assert np.mean(predicted == y) > 0.8


@pytest.mark.parametrize("loss", ["cross_entropy", "squared", "logistic_ovr", "exponential"])
@pytest.mark.parametrize("k", [2, 3])
def test_probabilities_belong_to_the_loss_and_decisions_agree_with_them(loss, k):
    X, y = IRIS[0][50 * (3 - k) :], IRIS[1][50 * (3 - k) :]
    classifier = quick(loss=loss, max_iter=30).fit(X, y)
    p, decision = classifier.predict_proba(X), classifier.decision_function(X)
    np.testing.assert_allclose(p, probabilities(loss, classifier._outputs(X)))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert -np.mean(np.log(np.maximum(p[np.arange(len(y)), y - 3 + k], 1e-3))) < 0.6
    assert decision.shape == ((len(X),) if k == 2 else (len(X), 3))
    column = (decision > 0).astype(int) if k == 2 else decision.argmax(axis=1)
    np.testing.assert_array_equal(classifier.predict(X), classifier.classes_[column])
    finite = p > 0
    np.testing.assert_allclose(classifier.predict_log_proba(X)[finite], np.log(p[finite]))


def test_the_hinge_loss_has_no_probabilities():
    classifier = quick(loss="hinge").fit(*IRIS)
    assert not hasattr(classifier, "predict_proba")
    assert not hasattr(classifier, "predict_log_proba")
    with pytest.raises(AttributeError, match="predict_proba"):
        classifier.predict_proba(IRIS[0])
    assert classifier.decision_function(IRIS[0]).shape == (150, 3)


def test_one_class_is_an_error_also_where_weights_leave_only_one():
    X, y = IRIS
    with pytest.raises(InputError, match="of one class, 0; at least two"):
        quick().fit(X[:50], y[:50])
    with pytest.raises(InputError, match="of one class, 1; at least two"):
        quick().fit(X, y, y == 1)
