"""Polynomial: ``act(u) = p_0 + p_1 u + ... + p_k u^k`` with given coefficients."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.formula import Formula, number
from fastbcd.kernels.jit import scalar
from fastbcd.kernels.plain import math
from fastbcd.kernels.stack import stack_array

MAX_DEGREE = 9
# g has degree 2 MAX_DEGREE - 1, which is also its largest number of roots.
LENGTH = 2 * MAX_DEGREE + 1


@scalar
def _horner(coefficients, length, u):
    """``sum_i coefficients[i] u^i``, i < length."""
    value = coefficients[length - 1]
    for i in range(length - 2, -1, -1):
        value = value * u + coefficients[i]
    return value


@scalar
def _root(coefficients, length, low, high):
    """Root of a polynomial that is monotone in [low, high] and changes sign there; bisection."""
    rising = _horner(coefficients, length, high) > 0.0
    for _ in range(200):
        middle = low + 0.5 * (high - low)
        if middle <= low or middle >= high:
            break
        if (_horner(coefficients, length, middle) < 0.0) == rising:
            low = middle
        else:
            high = middle
    return low + 0.5 * (high - low)


@scalar
def _value(u, p):
    T = type(u)
    value = T(p[len(p) - 1])
    for i in range(len(p) - 2, -1, -1):
        value = value * u + T(p[i])
    return value


@scalar
def _derivative(u, p):
    T, degree = type(u), len(p) - 1
    slope = T(degree) * T(p[degree])
    for i in range(degree - 1, 0, -1):
        slope = slope * u + T(i) * T(p[i])
    return slope


@scalar
def _curvature(v, p):
    # Above degree 1 the second derivative grows without bound.
    for i in range(2, len(p)):
        if p[i] != 0.0:
            return np.inf
    return p[1] * p[1]


@scalar
def _prox(a, c, q, p):
    # All stationary points, in float64: between two neighbouring critical points a polynomial
    # is monotone and has at most one root, so the roots of each derivative of g bracket
    # those of the one before, from the linear one up to g itself.
    degree = len(p) - 1
    length = max(2 * degree, 2)
    target, center, weight = np.float64(a), np.float64(c), np.float64(q)
    # g(u) = q (u - c) + act'(u) (act(u) - a)
    g = stack_array(LENGTH)
    for i in range(length):
        g[i] = 0.0
    g[0], g[1] = -weight * center, weight
    for i in range(1, degree + 1):
        g[i - 1] -= i * p[i] * target
        for j in range(degree + 1):
            g[i - 1 + j] += i * p[i] * p[j]

    # f(u) <= f(c) confines the minimiser.
    reach = abs(target - _value(center, p)) / math.sqrt(weight)
    low, high = center - reach, center + reach
    roots, found, n_roots = stack_array(LENGTH), stack_array(LENGTH), 0
    derivative = stack_array(LENGTH)
    for order in range(length - 2, -1, -1):
        # Coefficients of the derivative of g of this order.
        size = length - order
        for i in range(size):
            factor = 1.0
            for k in range(order):
                factor *= i + order - k
            derivative[i] = g[i + order] * factor
        n_found, left = 0, low
        for k in range(n_roots + 1):
            right = roots[k] if k < n_roots else high
            at_left = _horner(derivative, size, left)
            at_right = _horner(derivative, size, right)
            if (at_left <= 0.0) != (at_right <= 0.0):
                found[n_found] = _root(derivative, size, left, right)
                n_found += 1
            left = right
        for k in range(n_found):
            roots[k] = found[k]
        n_roots = n_found

    best, f_best = low, np.inf
    for k in range(n_roots + 3):
        u = low if k == 0 else high if k == 1 else center if k == 2 else roots[k - 3]
        residual = target - _value(u, p)
        f = residual * residual + weight * (u - center) * (u - center)
        if f < f_best:
            best, f_best = u, f
    return type(c)(best)


def polynomial(*coefficients: float) -> Formula:
    """Polynomial activation, ``act(u) = p_0 + p_1 u + ... + p_k u^k``, 1 <= k <= 9.

    Its prox finds all stationary points in float64: exact, but much slower than other activations.

    Raises
    ------
    ValueError
        Fewer than two coefficients, more than ten, or one that is not finite.
    """
    if not 2 <= len(coefficients) <= MAX_DEGREE + 1:
        raise ValueError(
            f"polynomial: give 2 to {MAX_DEGREE + 1} coefficients, lowest power first "
            f"(polynomial:0,1,0.5), got {len(coefficients)}"
        )
    coefficients = tuple(number(p, "polynomial") for p in coefficients)
    if not np.isfinite(coefficients).all():
        raise ValueError(f"polynomial: coefficients must be finite, got {coefficients}")
    return Formula(
        "polynomial",
        coefficients,
        value=_value,
        derivative=_derivative,
        curvature=_curvature,
        prox=_prox,
    )
