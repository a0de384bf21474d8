"""Proximal operators of the activations are global minimisers."""

import numpy as np
import pytest
from numba import njit

from fastbcd import kernels
from fastbcd.kernels import leaky_relu, linear, relu

ACTIVATIONS = {
    "relu": relu(),
    "leaky_relu": leaky_relu(0.01),
    "leaky_relu slope 0": leaky_relu(0.0),
    "leaky_relu slope 0.9": leaky_relu(0.9),
    "linear": linear(),
}


def value(activation, u):
    """The activation, written again, for float64 arrays."""
    if activation.name == "linear":
        return u
    slope = activation.parameters[0] if activation.name == "leaky_relu" else 0.0
    return np.where(u > 0, u, slope * u)


def random_cases(n, dtype, seed):
    """Arguments a, c, q with magnitudes from 1e-6 to 1e4, of either sign, and exact zeros."""
    rng = np.random.default_rng(seed)

    def magnitudes():
        return 10 ** rng.uniform(-6, 4, n)

    a, c = magnitudes() * rng.choice([-1, 1], n), magnitudes() * rng.choice([-1, 1], n)
    q = magnitudes()
    # A third of the cases have a and c of like size, where branches compete.
    like = rng.random(n) < 1 / 3
    c[like] = a[like] * rng.uniform(-3, 3, like.sum())
    a[rng.random(n) < 0.02] = 0.0
    c[rng.random(n) < 0.02] = 0.0
    return tuple(x.astype(dtype) for x in (a, c, q))


def best_of_dense_grid(activation, a, c, q):
    """Minimum of (a - act(u))^2 + q (u - c)^2 by a dense grid, refined three times."""

    def f(u):
        return (a[:, None] - value(activation, u)) ** 2 + q[:, None] * (u - c[:, None]) ** 2

    # Outside this interval the function exceeds its value at u = c.
    reach = np.abs(a - value(activation, c)) / np.sqrt(q)
    low, high = c - reach, c + reach
    best = np.full(len(a), np.inf)
    for _ in range(4):
        grid = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, 401)
        values = f(grid)
        at = values.argmin(axis=1)
        best = np.minimum(best, values[np.arange(len(a)), at])
        center, spacing = grid[np.arange(len(a)), at], (high - low) / 400
        low, high = center - spacing, center + spacing
    return best


@njit
def apply_prox(activation, out, a, c, q):
    for i in range(len(out)):
        out[i] = activation.prox(a[i], c[i], q[i])


def worst_excess(activation, n, dtype, seed):
    """Largest relative excess of the prox's value over the grid's best."""
    a, c, q = random_cases(n, dtype, seed)
    u = np.empty(n, dtype)
    apply_prox(activation, u, a, c, q)
    a, c, q, u = (x.astype(np.float64) for x in (a, c, q, u))
    attained = (a - value(activation, u)) ** 2 + q * (u - c) ** 2
    # Rounding u to its type moves the value by at most this; nothing finer can be asked.
    eps = np.finfo(dtype).eps
    rounding = (eps * np.abs(u)) ** 2 * (1 + q) * 4 + 1e-300
    best = best_of_dense_grid(activation, a, c, q)
    return ((attained - rounding - best) / np.maximum(best, rounding)).max()


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prox_is_never_worse_than_a_dense_grid(name, dtype):
    limit = {np.float32: 1e-6, np.float64: 1e-12}[dtype]
    assert worst_excess(ACTIVATIONS[name], 4000, dtype, seed=0) <= limit


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "linear"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prox_is_never_worse_than_a_dense_grid_in_a_million_cases(name, dtype):
    limit = {np.float32: 1e-6, np.float64: 1e-12}[dtype]
    for seed in range(100):
        assert worst_excess(ACTIVATIONS[name], 10_000, dtype, seed) <= limit


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_is_the_formula(name):
    u = np.array([-2.0, -0.5, 0.0, 0.5, 3.0])
    out = np.empty((1, 5))
    kernels.activate(out, ACTIVATIONS[name], u[None], None)
    np.testing.assert_array_equal(out[0], value(ACTIVATIONS[name], u))


@pytest.mark.parametrize("slope", [-0.1, 1.0, 2.0, np.nan])
def test_leaky_relu_refuses_other_slopes(slope):
    with pytest.raises(ValueError, match=r"slope must be in \[0, 1\)"):
        leaky_relu(slope)


def test_a_float32_prox_stays_in_float32():
    a, c, q = (np.float32(x) for x in (1.0, -0.3, 2.0))

    @njit
    def size(activation, a, c, q):
        return np.array([activation.prox(a, c, q)]).itemsize

    for activation in ACTIVATIONS.values():
        assert size(activation, a, c, q) == 4
