"""Kernels of extrapolation: states move along a difference in bfloat16, and find their way back."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fastbcd import kernels
from fastbcd.kernels.bfloat16 import bfloat16_bits, bfloat16_value

DTYPES = [np.float32, np.float64]
M, D = 9, 21


def draw(*shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def value_of(bits):
    """The number in float64 that the bits of a bfloat16 stand for, from their three fields."""
    bits = np.asarray(bits).astype(np.int64)
    sign, exponent, fraction = 1 - 2 * (bits >> 15), (bits >> 7) & 0xFF, bits & 0x7F
    with np.errstate(over="ignore"):
        normal = np.ldexp(1.0 + fraction / 128.0, exponent - 127)
    value = np.where(exponent == 0, np.ldexp(fraction / 128.0, -126), normal)
    value = np.where(exponent == 255, np.where(fraction == 0, np.inf, np.nan), value)
    return sign * value


# All finite bfloat16 numbers that are not negative, in order; then the one where infinity begins.
POSITIVE = np.append(value_of(np.arange(0x7F80)), 2.0**128)


def nearest(x):
    """The bits of the bfloat16 that is nearest to x, of two the even one."""
    size = min(abs(float(x)), POSITIVE[-1])
    above = int(np.searchsorted(POSITIVE, size))
    below = above if POSITIVE[above] == size else above - 1
    gaps = size - POSITIVE[below], POSITIVE[above] - size
    up = gaps[1] < gaps[0] or (gaps[1] == gaps[0] and below % 2 == 1)
    return (above if up else below) | (0x8000 if np.signbit(x) else 0)


def numbers_of_all_sizes():
    """Random float32 bits, numbers beside ties, and the ends of the type: no NaN."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**32, 20_000, dtype=np.uint32)
    ties = (rng.integers(0, 2**16, 3_000, dtype=np.uint32) << 16) + np.uint32(0x8000)
    ends = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0x7F7FFFFF, 0x7F7F8000, 0x7F7F7FFF, 0x7F800000])
    bits = np.r_[bits, ties - 1, ties, ties + 1, ends, ends + 2**31].astype(np.uint32)
    numbers = bits.view(np.float32)
    return numbers[~np.isnan(numbers)]


def test_a_bfloat16_is_the_nearest_and_of_two_the_even_one():
    numbers = numbers_of_all_sizes()
    assert np.isinf(numbers).any()
    assert (np.abs(numbers[numbers != 0]) < np.finfo(np.float32).tiny).sum() > 50  # subnormal
    for dtype in DTYPES:
        rounded, P = np.empty((1, len(numbers)), np.uint16), np.zeros((1, len(numbers)), dtype)
        with np.errstate(over="ignore"):
            kernels.difference(rounded, numbers[None].astype(dtype), P)
        np.testing.assert_array_equal(rounded[0], [nearest(x) for x in numbers])


def test_each_bfloat16_stands_for_its_number_and_is_its_own_rounding():
    bits = np.arange(2**16).astype(np.uint16)
    values = np.array([bfloat16_value(b) for b in bits])
    np.testing.assert_array_equal(values.astype(np.float64), value_of(bits))
    known = ~np.isnan(values)
    again = np.array([bfloat16_bits(x) for x in values])
    np.testing.assert_array_equal(again[known], bits[known])
    assert np.isnan(value_of(again[~known])).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [0.0, 0.28, 0.999, -1.0])
def test_extrapolation_is_its_formula_and_finds_the_states_before_it_again(dtype, beta):
    V, gap = draw(M, D, dtype=dtype), draw(M, D, dtype=dtype, seed=1)
    differences = np.empty((M, D), np.uint16)
    kernels.difference(differences, gap, np.zeros_like(gap))
    moved, kept = V.copy(), np.empty_like(V)
    kernels.extrapolate(moved, differences, beta, None, kept)
    np.testing.assert_array_equal(kept, V)
    step = dtype(beta) * value_of(differences)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(moved, V + step, rtol=0, atol=2 * eps * abs(step).max() + 2 * eps)
    P = np.empty_like(V)
    kernels.before_extrapolation(P, moved, differences, beta)
    # Two roundings: of the point, and of the way back.
    assert (abs(P - V) <= eps * (abs(moved) + abs(V))).all()
    if beta == 0.0:
        np.testing.assert_array_equal(P, V)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("penalty", [kernels.nonnegative(), kernels.box(-0.5, 0.75)], ids=repr)
def test_what_would_leave_the_domain_stays_and_loses_its_momentum(dtype, penalty):
    V, gap = draw(M, D, dtype=dtype), draw(M, D, dtype=dtype, seed=1)
    kernels.project(V, penalty)
    differences = np.empty((M, D), np.uint16)
    kernels.difference(differences, gap, np.zeros_like(gap))
    free, before = V + dtype(0.9) * value_of(differences).astype(dtype), differences.copy()
    moved, kept = V.copy(), np.empty_like(V)
    kernels.extrapolate(moved, differences, 0.9, penalty, kept)
    np.testing.assert_array_equal(kept, V)
    assert np.isfinite(kernels.penalty_sum(penalty, moved))
    inside = np.isfinite(np.vectorize(penalty.value)(free.astype(np.float64)))
    assert 0.1 < inside.mean() < 0.9
    np.testing.assert_array_equal(moved[~inside], V[~inside])
    np.testing.assert_allclose(moved[inside], free[inside], rtol=0, atol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(differences, np.where(inside, before, 0))
    P = np.empty_like(V)
    kernels.before_extrapolation(P, moved, differences, 0.9)
    np.testing.assert_array_equal(P[~inside], V[~inside])
    np.testing.assert_allclose(P, V, rtol=0, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_difference_is_rounded_and_its_squared_norm_is_not(dtype, weighted):
    V, P = draw(M, D, dtype=dtype), draw(M, D, dtype=dtype, seed=1)
    weight = np.random.default_rng(2).random(M) if weighted else np.ones(M)
    gap = V - P
    differences, left = np.empty((M, D), np.uint16), P.copy()
    more = (weight,) if weighted else ()
    total = kernels.difference(differences, V, left, *more)
    squares = np.sum(np.square(V.astype(np.float64) - P), axis=1)
    assert total == pytest.approx(weight @ squares, rel=20 * float(np.finfo(dtype).eps))
    np.testing.assert_array_equal(left, P)
    np.testing.assert_array_equal(differences.ravel(), [nearest(x) for x in gap.ravel()])
    assert (abs(value_of(differences) - gap) <= 2.0**-8 * abs(gap)).all()


PLAIN = """
import json
import numpy as np
from fastbcd import Problem, ThreeSplitting, TwoSplitting, kernels
rng = np.random.default_rng(0)
found = []
X, Y = rng.normal(size=(40, 3)), np.eye(2)[rng.integers(0, 2, 40)]
for kind in (ThreeSplitting, TwoSplitting):
    for dtype in ("float32", "float64"):
        problem = Problem((3, 4, 2), state_penalty="nonnegative/none")
        solver = kind(problem, dtype=dtype, acceleration="nesterov")
        result = solver.fit(X, Y, max_iter=3)
        found += [float(W.sum()) for W in result.state.W[1:]] + [result.state.momentum.objective]
numbers = rng.integers(0, 2**32, 2000, dtype=np.uint32).view(np.float32)[None]
bits = np.empty(numbers.shape, np.uint16)
kernels.difference(bits, numbers, np.zeros_like(numbers))
print(json.dumps([found, np.where(np.isnan(numbers), 0, bits).tolist()]))
"""


def test_without_numba_s_compiler_they_do_the_same():
    results = []
    for setting in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": setting}
        command = [sys.executable, "-W", "error", "-c", PLAIN]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    (compiled, bits), (plain, same) = results
    np.testing.assert_allclose(plain, compiled, rtol=1e-4)
    assert same == bits
