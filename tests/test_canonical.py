"""The canonical form of samples depends on their values only, and merges equal ones exactly."""

import time

import numpy as np
import pytest

from fastbcd.estimators import canonical as module
from fastbcd.estimators.canonical import canonical


def samples(n=500, d=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, (n, d)).astype(float), rng.integers(0, 2, (n, 1))


def rows_and_weights(X, Y, weight=None):
    """The rows that `canonical` keeps, in order, with their weights."""
    rows, weight = canonical(X, Y, weight)
    kept = np.c_[X[rows], Y[rows]]
    return kept, np.ones(len(kept)) if weight is None else weight


def test_each_distinct_sample_is_there_once_with_the_sum_of_its_weights():
    X, Y = samples()
    weight = np.random.default_rng(1).random(500)
    kept, total = rows_and_weights(X, Y, weight)
    expected, index = np.unique(np.c_[X, Y], axis=0, return_inverse=True)
    sums = np.bincount(index.ravel(), weight)
    order = np.lexsort(kept.T[::-1])
    np.testing.assert_array_equal(kept[order], expected)
    np.testing.assert_allclose(total[order], sums, rtol=1e-12)


@pytest.mark.parametrize("hashed", [True, False])
def test_neither_order_nor_repetition_changes_a_bit(hashed, monkeypatch):
    if not hashed:  # every pair of rows collides: the exact order decides
        monkeypatch.setattr(module, "_hash", lambda A, offset: np.zeros((len(A), 2), np.uint64))
    X, Y = samples()
    weight = np.random.default_rng(1).integers(0, 4, 500)
    copies = np.random.default_rng(2).permutation(np.repeat(np.arange(500), weight))
    weighted = rows_and_weights(X, Y, weight.astype(float))
    repeated = rows_and_weights(X[copies], Y[copies])
    order = np.random.default_rng(3).permutation(500)
    fractions = weight + np.random.default_rng(4).random(500)
    pairs = [
        (weighted, repeated),
        (
            rows_and_weights(X, Y, fractions),
            rows_and_weights(X[order], Y[order], fractions[order]),
        ),
    ]
    for first, second in pairs:
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)
    assert len(np.unique(weighted[0], axis=0)) == len(weighted[0])


def test_only_values_count_not_types_nor_the_sign_of_zero():
    X, Y = samples(50, 3)
    rows, _ = canonical(X, Y, None)
    for other in (X.astype(np.float32), X.astype(np.uint8), np.where(X == 0, -0.0, X)):
        np.testing.assert_array_equal(X[canonical(other, Y, None)[0]], X[rows])


def test_the_order_is_not_that_of_the_values():
    X = np.arange(1000.0)[:, None]
    rows, weight = canonical(X, np.zeros((1000, 1)), None)
    assert weight is None
    assert abs(np.corrcoef(rows, np.arange(1000))[0, 1]) < 0.15


def test_equal_weights_after_merging_are_none():
    X, Y = samples(40, 6, seed=5)
    X[:, 0] = np.arange(40)
    assert canonical(np.r_[X, X], np.r_[Y, Y], None)[1] is None
    assert canonical(X, Y, np.full(40, 0.3))[1] is None


def test_it_costs_little():
    X = np.random.default_rng(0).random((20_000, 784), dtype=np.float32)
    Y = np.zeros((20_000, 1))
    canonical(X[:100], Y[:100], None)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        assert len(canonical(X, Y, None)[0]) == 20_000
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1.0
