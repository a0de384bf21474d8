"""What a stream keeps: its parameters, its step size by parts, none of its samples."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris

from fastbcd import BCDClassifier, BCDRegressor, InputError

X, Y = load_iris(return_X_y=True)
CLASSES = [0, 1, 2]


def stream(**options):
    return BCDClassifier(**{"hidden_layer_sizes": (8,), "random_state": 0} | options)


def weights(estimator):
    return np.concatenate([W.ravel() for W in estimator.network_.W])


OTHERS = {
    "step_size": 0.0,
    "momentum": 0.0,
    "damping": 1.0,
    "rank": 0,
    "rho": 2.0,
    "gamma": 2.0,
    "average": 0.0,
    "weight_decay": 0.0,
    "batch_size": 20,
    "dtype": "float64",
    "loss": "squared",
    "activation": "tanh",
    "weight_penalty": "l1:1",
    "preprocess": "none",
    "hidden_layer_sizes": (9,),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_parameter_after_the_first_part_is_refused_by_name(name):
    started = stream().partial_fit(X, Y, classes=CLASSES)
    first = weights(started)
    with pytest.raises(InputError, match=f"^{name}: "):
        started.set_params(**{name: OTHERS[name]}).partial_fit(X, Y)
    np.testing.assert_array_equal(weights(started), first)
    started.set_params(**{name: stream().get_params()[name]}).partial_fit(X, Y)
    assert started.n_iter_ == 2


def test_averaging_cannot_begin_in_the_middle():
    started = stream(average=0.0).partial_fit(X, Y, classes=CLASSES)
    with pytest.raises(InputError, match="average: it was 0.0 in the first partial_fit, and is 0"):
        started.set_params(average=0.98).partial_fit(X, Y)


def test_what_a_stream_need_not_keep_may_change_and_a_fit_begins_anew():
    started = stream().partial_fit(X, Y, classes=CLASSES)
    free = {"n_threads": 1, "verbose": True, "max_iter": 3, "random_state": 5}
    started.set_params(class_weight={0: 2.0}, **free).partial_fit(X, Y)
    started.set_params(momentum=0.9).partial_fit(X, Y)  # what the rule had chosen
    started.set_params(step_size=0.1, dtype="float64").fit(X, Y).partial_fit(X, Y)
    assert started.network_.W[0].dtype == np.float64


def test_a_batch_size_of_0_is_an_error_as_in_fit():
    with pytest.raises(InputError, match="batch_size must be an integer of at least 1, got 0"):
        stream(batch_size=0).partial_fit(X, Y, classes=CLASSES)


def test_the_size_of_the_first_part_decides_nothing_but_the_scaling():
    digits, labels = load_digits(return_X_y=True)
    small, usual = (stream(preprocess="none") for _ in range(2))
    small.partial_fit(digits[:4], labels[:4], classes=range(10))
    usual.partial_fit(digits[:200], labels[:200], classes=range(10))
    for part in (slice(200, 400), slice(400, 600)):
        for estimator in (small, usual):
            estimator.partial_fit(digits[part], labels[part])
    settings = [estimator._stream.state.settings for estimator in (small, usual)]
    assert settings[0] == settings[1]
    # Sizes of steps follow the size of parts: 0.65 / sqrt(2) (m / 500)^(3/4).
    assert settings[0].step_size == pytest.approx(0.65 / 2**0.5 * 0.4**0.75)
    small.partial_fit(digits[:50], labels[:50])
    assert small._stream.state.settings.step_size == pytest.approx(0.65 / 2**0.5 * 0.1**0.75)


def test_nothing_of_the_samples_is_kept():
    secret = 123.4375
    inputs = np.full((100, 5), secret)
    inputs[50:] = 1.0
    regressor = BCDRegressor((4,), preprocess="none", dtype="float64", random_state=0)
    regressor.partial_fit(inputs, np.arange(100.0))
    state = regressor._stream.state
    assert state.X.base is state.Y.base is None  # a view would keep all of them
    assert np.float64(secret).tobytes() not in pickle.dumps(regressor)


def test_one_class_is_refused_as_in_fit():
    with pytest.raises(InputError, match=r"classes: at least two classes are needed, got \[0\]"):
        stream().partial_fit(X[:50], Y[:50], classes=[0])


def test_weights_of_any_size_count_as_they_are():
    heavy, light, usual = (
        stream(dtype="float64").partial_fit(
            X, Y, classes=CLASSES, sample_weight=np.full(150, weight)
        )
        for weight in (1e150, 1e-200, 1.0)
    )
    assert heavy.loss_ == pytest.approx(1e150 * usual.loss_)
    assert light.loss_ == pytest.approx(1e-200 * usual.loss_)
    assert np.isfinite(weights(heavy)).all()
    for dtype, weight in [("float32", 1e30), ("float64", 1e200)]:
        refused = stream(dtype=dtype)
        with pytest.raises(InputError, match=f"sample_weight: .* is too large for {dtype}"):
            refused.partial_fit(X, Y, classes=CLASSES, sample_weight=np.full(150, weight))
        assert not hasattr(refused, "classes_")
