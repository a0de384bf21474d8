"""Columns of 0 and 1 stay as they are in the estimators, as one-hot columns should."""

import numpy as np
import pytest

from fastbcd import BCDClassifier
from fastbcd.data.moments import binary_columns

RNG = np.random.default_rng(0)
N = 400
X = np.column_stack([RNG.normal(5.0, 2.0, N), RNG.random(N) < 0.1, np.ones(N), RNG.normal(size=N)])
X[:, 3] = np.where(X[:, 3] > 0, 1.0, -1.0)
y = (X[:, 0] > 5).astype(int)


def quick(**options):
    return BCDClassifier((4,), max_iter=1, random_state=0, **options)


def scaling(estimator):
    inputs = estimator.model_.preprocessing
    return inputs.shift, inputs.scale


def test_only_0_and_1_stay_as_they_are():
    shift, scale = scaling(quick().fit(X, y))
    deviations = X.std(axis=0)
    np.testing.assert_allclose(shift, [X[:, 0].mean(), 0.0, 1.0, X[:, 3].mean()])
    np.testing.assert_allclose(scale, [1 / deviations[0], 1.0, 0.0, 1 / deviations[3]])
    np.testing.assert_array_equal(binary_columns(X), [False, True, True, False])


@pytest.mark.parametrize("kind", ["standard", "clipped"])
def test_they_are_scaled_if_a_scaling_is_named(kind):
    scale = scaling(quick(preprocess=kind).fit(X, y))[1]
    np.testing.assert_allclose(scale[1], 1 / X[:, 1].std())


def test_bools_stay_as_they_are():
    shift, scale = scaling(quick().fit(X[:, :2] > 0.5, X[:, 1] > 0.5))
    assert (shift[1], scale[1]) == (0.0, 1.0)


def test_a_stream_scales_them_once_they_have_other_numbers():
    stream = quick().set_params(max_iter=None).partial_fit(X[:200], y[:200], classes=[0, 1])
    rare = X[200:].copy()
    rare[:, 1] = np.arange(200) % 40 == 0  # a numeric column of this size would be scaled anew
    for _ in range(5):
        stream.partial_fit(rare, y[200:])
    assert scaling(stream)[1][1] == 1.0
    counts = X[200:].copy()
    counts[:, 1] = RNG.poisson(20.0, 200)
    for _ in range(5):
        stream.partial_fit(counts, y[200:])
    shift, scale = scaling(stream)
    assert 0.5 < scale[1] * counts[:, 1].std() < 2.0
    assert abs(shift[1] - 20.0) < 10.0
