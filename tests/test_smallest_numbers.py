"""Inputs with the smallest possible numbers become finite ones."""

import warnings

import numpy as np

from fastbcd.data import Preprocessing


def test_the_largest_magnitude_may_have_no_reciprocal():
    X = np.array([[1e-310, -2e-310], [5e-324, 0.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaling = Preprocessing.fit(X, "unit")
        Z = scaling(X, np.float64)
    # To 1 at most; 1 itself would need a factor beyond the range of float64.
    np.testing.assert_allclose(Z, X / np.finfo(np.float64).tiny, rtol=1e-12)
    assert Preprocessing.fit(np.zeros((2, 2)), "unit").scale == 1.0
