"""A stream keeps its parameters and its step size, and none of its samples."""

import pickle
import tracemalloc

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


def test_early_stopping_is_refused_by_name_and_leaves_nothing_behind():
    refused = stream(early_stopping=True)
    with pytest.raises(InputError, match="^early_stopping: partial_fit holds no samples out"):
        refused.partial_fit(X, Y, classes=CLASSES)
    assert not hasattr(refused, "classes_")
    with pytest.raises(InputError, match="^early_stopping: "):
        stream(early_stopping=True).fit(X, Y).partial_fit(X, Y)


def test_verbose_says_how_each_call_went(capsys):
    shown = stream(verbose=True).partial_fit(X, Y, classes=CLASSES)
    shown.partial_fit(X[:100], Y[:100])
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("iteration 1 of 1, ")
    assert second.startswith("iteration 2 of 2, ")
    assert second.endswith(f"loss {shown.loss_:.4f}")
    stream().partial_fit(X, Y, classes=CLASSES)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_run_that_goes_on_refuses_another_scaling(method):
    for kind, solver in [("none", "mini-batch"), ("standard", "three-splitting")]:
        if method == "partial_fit" and solver != "mini-batch":
            continue
        warm = stream(warm_start=True, max_iter=2, solver=solver).fit(X, Y)
        warm.set_params(preprocess=kind)
        with pytest.raises(InputError, match="^preprocess: the run so far has 'auto', and goes on"):
            getattr(warm, method)(X, Y)
    assert stream(max_iter=2).fit(X, Y).set_params(preprocess="none").fit(X, Y).n_iter_ == 2


def test_a_call_does_not_cost_more_the_longer_a_stream_is():
    long = stream().partial_fit(X, Y, classes=CLASSES)
    curve = long.loss_curve_
    curve.extend([0.5] * 10**6)
    long.best_loss_ = 0.5
    before = long.loss_curve_[0]
    tracemalloc.start()
    try:
        long.partial_fit(X, Y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A copy of the curve would be 8 MB; a list that grows in place may take an eighth of it anew.
    assert peak < 2 * 10**6
    assert long.loss_curve_ is curve
    assert curve[0] == before
    assert len(curve) == long.n_iter_ == 10**6 + 2
    assert long.best_loss_ == min(curve)
    assert long.loss_ == curve[-1]


def test_the_best_loss_of_a_stream_after_early_stopping_is_that_of_its_curve():
    stopped = stream(early_stopping=True, max_iter=5).fit(X, Y)
    assert stopped.best_loss_ is None
    stopped.set_params(early_stopping=False).partial_fit(X, Y)
    assert stopped.best_loss_ == min(stopped.loss_curve_)
    assert len(stopped.loss_curve_) == 6
