"""Exponential and logarithm without branches, against 64-bit mantissas or twice the digits."""

import numpy as np
import pytest
from numba import njit

from fastbcd.kernels.exponential import exp_and_expm1, log1p_of_fraction

LOWEST = {np.float32: -87.0, np.float64: -708.0}


@njit
def evaluate(exp, expm1, log1p, x, fraction):
    for i in range(len(x)):
        exp[i], expm1[i] = exp_and_expm1(x[i])
        log1p[i] = log1p_of_fraction(fraction[i])


@pytest.mark.parametrize("dtype", LOWEST)
def test_two_units_in_the_last_place(dtype):
    rng = np.random.default_rng(0)
    n, lowest = 200_000, LOWEST[dtype]
    x = np.maximum(-(10 ** rng.uniform(-9, np.log10(-lowest), n)), lowest)
    x[:1000] = rng.uniform(lowest, 0, 1000)
    x[1000] = 0.0
    x, fraction = x.astype(dtype), np.minimum(10 ** rng.uniform(-9, 0.05, n), 1.0).astype(dtype)
    exp, expm1, log1p = np.empty((3, n), dtype)
    evaluate(exp, expm1, log1p, x, fraction)
    wide = np.longdouble if dtype is np.float64 else np.float64
    limit = 2 * float(np.finfo(dtype).eps)
    for got, expected in (
        (exp, np.exp(x.astype(wide))),
        (expm1, np.expm1(x.astype(wide))),
        (log1p, np.log1p(fraction.astype(wide))),
    ):
        error = np.abs(got - expected) / np.maximum(np.abs(expected), np.finfo(dtype).tiny)
        assert error.max() <= limit


@pytest.mark.parametrize("dtype", LOWEST)
def test_far_below_the_range_the_exponential_stays_tiny_and_nan_stays_nan(dtype):
    exp, expm1, log1p = np.empty((3, 3), dtype)
    x = np.array([-1e30, -np.inf, np.nan], dtype)
    evaluate(exp, expm1, log1p, x, np.zeros(3, dtype))
    assert (exp[:2] > 0).all()
    assert (exp[:2] < 1e-37).all()
    assert (expm1[:2] == -1).all()
    assert np.isnan(exp[2])
    assert (log1p == 0).all()
