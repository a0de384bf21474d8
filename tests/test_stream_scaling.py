"""A stream learns features that its first part did not show from later parts."""

import pickle
import warnings

import numpy as np
import pytest

from fastbcd import BCDClassifier, BCDRegressor, InputError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4000, 6))
DECIDES = 3
LABELS = (X[:, DECIDES] > 0).astype(int)
TARGETS = 1000.0 * X[:, DECIDES] + 5.0


def altered(A, change):
    A = A.copy()
    A[:, DECIDES] = change(A[:, DECIDES])
    return A


def score(estimator, first, X, y, **options):
    """On samples that were kept back, after a stream whose first 200 samples are `first`."""
    estimator.partial_fit(*first, **options)
    for _ in range(2):
        for start in range(200, 3000, 100):
            estimator.partial_fit(X[start : start + 100], y[start : start + 100])
    return estimator.score(X[3000:], y[3000:])


COLUMNS = {
    "constant": lambda x: 0.0 * x + 0.7,
    "zero": lambda x: 0.0 * x,
    "narrow": lambda x: 1e-4 * x,
}


@pytest.mark.parametrize("preprocess", ["auto", "standard"])
@pytest.mark.parametrize("change", COLUMNS)
def test_a_column_that_the_first_part_shows_wrongly_is_learned_later(change, preprocess):
    stream = BCDClassifier((32,), random_state=0, preprocess=preprocess)
    first = altered(X[:200], COLUMNS[change]), LABELS[:200]
    assert score(stream, first, X, LABELS, classes=[0, 1]) > 0.95
    # Its scale is about that of all samples so far.
    assert 0.25 < stream.model_.preprocessing.scale[DECIDES] < 4.0


@pytest.mark.parametrize("kind", ["float", "grey levels"])
def test_a_first_part_without_any_information_is_forgotten(kind):
    A = X if kind == "float" else np.clip(40 * X + 128, 0, 255).astype(np.uint8)
    stream = BCDClassifier((32,), random_state=0)
    for _ in range(20):
        stream.partial_fit(np.zeros_like(A[:50]), LABELS[:50], classes=[0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # What a stream of the same kind gets that begins here: 0.96 and 0.88.
        assert score(stream, (A[:200], LABELS[:200]), A, LABELS) > 0.86
    assert stream.n_iter_ == 20 + 1 + 2 * 28 == len(stream.loss_curve_)


def test_grey_levels_that_were_dark_at_first_are_scaled_by_what_they_are():
    grey = np.clip(40 * X + 128, 0, 255).astype(np.uint8)
    stream = BCDClassifier((32,), random_state=0)
    assert score(stream, (grey[:200] // 64, LABELS[:200]), grey, LABELS, classes=[0, 1]) > 0.86
    assert stream.model_.preprocessing.scale == pytest.approx([1 / 255], rel=0.1)


@pytest.mark.parametrize("first", [0.0, 1e-4, 1.0])
def test_the_scale_of_a_regressors_targets_is_learned_later(first):
    stream = BCDRegressor((32,), random_state=0)
    assert score(stream, (X[:200], first * TARGETS[:200]), X, TARGETS) > 0.9
    assert 250 < stream.model_.target_scale[0] < 4000


def test_a_rare_class_at_first_does_not_make_steps_small_for_ever():
    stream = BCDClassifier((32,), loss="squared", random_state=0)
    few = np.argsort(LABELS, kind="stable")[:200]  # all of class 0
    assert score(stream, (X[few], LABELS[few]), X, LABELS, classes=[0, 1]) > 0.93
    rare = np.append(few, np.flatnonzero(LABELS)[:1])
    stream = BCDClassifier((32,), loss="squared", random_state=0)
    assert score(stream, (X[rare], LABELS[rare]), X, LABELS, classes=[0, 1]) > 0.93
    assert 0.25 < stream._stream.state.output_unit < 1.0  # 0.5, and 0.07 in the first part


def test_a_fit_that_goes_on_learns_a_column_that_was_constant_in_the_first():
    first = altered(X[:300], COLUMNS["constant"])
    for solver, right in {"mini-batch": 0.95, "three-splitting": 0.85}.items():
        warm = BCDClassifier((32,), random_state=0, warm_start=True, solver=solver)
        warm.fit(first, LABELS[:300]).fit(X[:2000], LABELS[:2000])
        assert warm.score(X[3000:], LABELS[3000:]) > right
    streamed = BCDClassifier((32,), random_state=0).fit(first, LABELS[:300])
    for start in range(200, 3000, 100):
        streamed.partial_fit(X[start : start + 100], LABELS[start : start + 100])
    assert streamed.score(X[3000:], LABELS[3000:]) > 0.9


def test_one_extreme_value_changes_no_scale_and_nor_do_numbers_that_overflow():
    stream = BCDClassifier((8,), random_state=0)
    stream.partial_fit(X[:500], LABELS[:500], classes=[0, 1])
    before = stream.model_.preprocessing
    wild = X[:500].copy()
    wild[7, 2], wild[8, 1] = 1e12, 1e300
    stream.partial_fit(wild, LABELS[:500])
    assert stream.model_.preprocessing is before
    assert np.isfinite(stream.predict_proba(X)).all()


def test_an_estimator_of_an_earlier_version_goes_on():
    old = BCDClassifier((8,), random_state=0).partial_fit(X[:200], LABELS[:200], classes=[0, 1])
    del old._scaling
    new = pickle.loads(pickle.dumps(old)).partial_fit(X[:200], LABELS[:200])
    assert (new.model_.preprocessing.scale == old.model_.preprocessing.scale).all()
    assert new._scaling.input_moments.weight == 400


def test_a_part_that_fails_leaves_scaling_and_network_as_they_were():
    stream = BCDClassifier((8,), random_state=0, loss="squared", preprocess="standard")
    stream.partial_fit(altered(X[:200], COLUMNS["zero"]), LABELS[:200], classes=[0, 1])
    before, outputs = stream._scaling, stream.decision_function(X)
    with pytest.raises(InputError, match="sample_weight"):
        stream.partial_fit(X[:200], LABELS[:200], sample_weight=np.full(200, 1e300))
    assert stream._scaling is before
    np.testing.assert_array_equal(stream.decision_function(X), outputs)


MISLEADING = {
    "a million times wider": lambda x: 1e6 * x,
    "elsewhere": lambda x: x + 1000.0,
}


@pytest.mark.parametrize("change", MISLEADING)
def test_a_column_of_another_range_at_first_is_learned_later(change):
    stream = BCDClassifier((32,), random_state=0)
    first = altered(X[:200], MISLEADING[change]), LABELS[:200]
    # Chance is 0.5, which it was when all samples so far decided the scale.
    assert score(stream, first, X, LABELS, classes=[0, 1]) > 0.95
    assert 0.25 < stream.model_.preprocessing.scale[DECIDES] < 4.0
    assert abs(stream.model_.preprocessing.shift[DECIDES]) < 1.0


def test_a_column_that_was_constant_for_half_of_the_stream_is_learned_then():
    A, stream = (
        altered(X, lambda x: np.where(np.arange(len(x)) < 1600, 3.0, x)),
        BCDClassifier((32,), random_state=0),
    )
    for start in range(0, 3200, 100):
        part = slice(start, start + 100)
        stream.partial_fit(A[part], LABELS[part], classes=[0, 1])
    assert stream.score(X[3200:], LABELS[3200:]) > 0.85  # 0.6 by the mean of both halves
    assert abs(stream.model_.preprocessing.shift[DECIDES]) < 1.0


@pytest.mark.parametrize("change", [lambda t: 1e5 * t, lambda t: t + 1e7])
def test_targets_of_another_range_at_first_are_learned_later(change):
    stream = BCDRegressor((32,), random_state=0)
    assert score(stream, (X[:200], change(TARGETS[:200])), X, TARGETS) > 0.9
    assert 250 < stream.model_.target_scale[0] < 4000
