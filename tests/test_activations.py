"""Proximal operators of the activations are global minimisers."""

import math

import numpy as np
import pytest
from numba import njit
from share import count, share

from fastbcd import kernels
from fastbcd.kernels import leaky_relu, linear, polynomial, relu, sigmoid, softplus, tanh

ACTIVATIONS = {
    "relu": relu(),
    "leaky_relu": leaky_relu(0.01),
    "leaky_relu slope 0": leaky_relu(0.0),
    "leaky_relu slope 0.9": leaky_relu(0.9),
    "linear": linear(),
    "sigmoid": sigmoid(),
    "tanh": tanh(),
    "softplus": softplus(),
    "polynomial": polynomial(0.1, 1.0, 0.5),
    "polynomial of degree 4": polynomial(0.0, 1.0, 0.0, -0.3, 0.02),
}
KINDS = {"relu": 0, "leaky_relu": 0, "linear": 1, "sigmoid": 2, "tanh": 3, "softplus": 4}
LIMITS = {np.float32: 1e-6, np.float64: 1e-12}


@njit
def value(kind, p, u):
    """The activation in float64, written again from its definition."""
    if kind == 0:
        return u if u > 0 else p[0] * u
    if kind == 1:
        return u
    if kind == 2:
        return 1 / (1 + math.exp(-u)) if u > -700 else 0.0
    if kind == 3:
        return math.tanh(u)
    if kind == 4:
        return math.log1p(math.exp(u)) if u < 30 else u + math.exp(-u)
    total = 0.0
    for i in range(len(p)):
        total += p[i] * u**i
    return total


def reference(activation):
    """Arguments of `value` for an activation."""
    return KINDS.get(activation.name, 5), np.array(activation.parameters)


@njit
def prox_of_all(u, activation, a, c, q):
    """Write the prox to u; the bytes of a number that the prox returns."""
    one = np.empty(1, u.dtype)
    for i in range(len(u)):
        one = np.array([activation.prox(a[i], c[i], q[i])])
        u[i] = one[0]
    return one.itemsize


@njit
def quick_prox_of_all(u, activation, a, c, q):
    for i in range(len(u)):
        u[i] = activation.quick_prox(a[i], c[i], q[i])


# It does not know the formula: compiled once for each type.
@njit
def value_and_best_of_grid(kind, p, a, c, q, u, attained, best, points):
    """The value at u in float64; the least value on a grid, refined four times."""
    for i in range(len(a)):
        a_i, c_i, q_i = np.float64(a[i]), np.float64(c[i]), np.float64(q[i])
        u_i = np.float64(u[i])
        attained[i] = (a_i - value(kind, p, u_i)) ** 2 + q_i * (u_i - c_i) ** 2
        # Outside this interval the function exceeds its value at c.
        reach = abs(a_i - value(kind, p, c_i)) / math.sqrt(q_i)
        low, high = c_i - reach, c_i + reach
        best[i] = np.inf
        for _ in range(5):
            spacing, center = (high - low) / points, low
            for k in range(points + 1):
                x = low + k * spacing
                f = (a_i - value(kind, p, x)) ** 2 + q_i * (x - c_i) ** 2
                if f < best[i]:
                    best[i], center = f, x
            low, high = center - spacing, center + spacing


# Of a million cases the tenth for one seed.
N = count(100_000, at_least=40_000)


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


def worst_excess(activation, n, dtype, seed, points=200, quick=False):
    """Largest relative excess of the prox's value over the grid's best.

    With `quick` u is what `quick_prox` says wherever it does not leave the case open.
    """
    a, c, q = random_cases(n, dtype, seed)
    u, attained, best = np.empty(n, dtype), np.empty(n), np.empty(n)
    kind, p = reference(activation)
    prox_of_all(u, activation, a, c, q)
    if quick:
        careful = u.copy()
        quick_prox_of_all(u, activation, a, c, q)
        u = np.where(np.isnan(u), careful, u)
    value_and_best_of_grid(kind, p, a, c, q, u, attained, best, points)
    # No float of the type is closer to the minimiser than half a unit in the last place, nor
    # does the type resolve a - act(u) finer: what these move the value by is not asked for.
    eps = float(np.finfo(dtype).eps)
    acts = np.array([value(kind, p, float(x)) for x in u])
    slopes = np.abs(
        np.array([value(kind, p, float(x) * (1 + eps) + 1e-300) for x in u]) - acts
    ) + eps * np.abs(acts)
    rounding = 4 * (slopes + eps * np.abs(a.astype(float))) ** 2
    rounding += 4 * q * (eps * np.maximum(np.abs(u), np.abs(c)).astype(float)) ** 2 + 1e-300
    # Both values are themselves computed in float64, from differences that cancel.
    a64, c64, q64, u64 = (x.astype(np.float64) for x in (a, c, q, u))
    noise = np.abs(a64 - acts) * (np.abs(a64) + np.abs(acts))
    noise += q64 * np.abs(u64 - c64) * (np.abs(u64) + np.abs(c64))
    rounding += 4 * float(np.finfo(np.float64).eps) * noise
    excess = (attained - rounding - best) / np.maximum(best, rounding)
    worst = excess.argmax()
    return excess[worst], (a[worst], c[worst], q[worst], u[worst], attained[worst], best[worst])


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", LIMITS)
def test_prox_is_never_worse_than_a_dense_grid(name, dtype):
    excess, case = worst_excess(ACTIVATIONS[name], 5000, dtype, seed=0)
    assert excess <= LIMITS[dtype], case


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", LIMITS)
def test_prox_is_never_worse_than_a_dense_grid_in_a_million_cases(name, dtype):
    for seed in share(range(10)):
        excess, case = worst_excess(ACTIVATIONS[name], N, dtype, seed, points=60)
        assert excess <= LIMITS[dtype], case


SMOOTH = ["sigmoid", "tanh", "softplus"]


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("dtype", LIMITS)
def test_quick_prox_is_never_worse_than_a_dense_grid(name, dtype):
    excess, case = worst_excess(ACTIVATIONS[name], 20_000, dtype, seed=1, quick=True)
    assert excess <= LIMITS[dtype], case


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("dtype", LIMITS)
def test_quick_prox_is_never_worse_than_a_dense_grid_in_a_million_cases(name, dtype):
    for seed in share(range(10, 20)):
        excess, case = worst_excess(ACTIVATIONS[name], N, dtype, seed, points=60, quick=True)
        assert excess <= LIMITS[dtype], case


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("dtype", LIMITS)
def test_quick_prox_leaves_few_cases_open_where_states_are_near_their_activations(name, dtype):
    # What makes it quick. gamma = rho and the default alpha: q is just above 1.
    rng = np.random.default_rng(0)
    n, activation = 20_000, ACTIVATIONS[name]
    c = (2 * rng.standard_normal(n)).astype(dtype)
    a = np.array([activation.value(x) for x in c]) + 0.3 * rng.standard_normal(n)
    u, q = np.empty(n, dtype), np.full(n, 1.001, dtype)
    quick_prox_of_all(u, activation, a.astype(dtype), c, q)
    assert np.isnan(u).sum() <= 0.002 * n
    # Beyond that, and where two minima compete, it must not guess.
    assert np.isnan(activation.quick_prox(dtype(30), dtype(-4), dtype(1e-2)))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", LIMITS)
def test_value_is_the_formula(name, dtype):
    u = np.array([[-80.0, -2.0, -0.5, -1e-6, 0.0, 1e-6, 0.5, 3.0, 80.0]], dtype)
    out = np.empty_like(u)
    kernels.activate(out, ACTIVATIONS[name], u, None)
    expected = [value(*reference(ACTIVATIONS[name]), float(x)) for x in u[0]]
    np.testing.assert_allclose(out[0], expected, rtol=8 * float(np.finfo(dtype).eps), atol=1e-34)


def test_prox_finds_the_far_minimum_where_there_are_two():
    # c = -4 lies on the flat part of the sigmoid; reaching up for a = 30 pays all the same.
    for activation in (sigmoid(), tanh()):
        near, far = (activation.prox(a, -4.0, 1.0) for a in (3.0, 30.0))
        assert near < -3.5
        assert far > -0.5


@pytest.mark.parametrize("activation", [sigmoid(), tanh(), softplus()], ids=repr)
@pytest.mark.parametrize("dtype", LIMITS)
def test_prox_ends_for_arguments_at_the_edge_of_the_type(activation, dtype):
    tiny = float(np.finfo(dtype).tiny)
    edge = [0.0, tiny, tiny / 8, 1e-20, 0.5, float(activation.value(0.0)), 1e15]
    arguments = [s * x for x in edge for s in (1, -1)]
    u = np.array(
        [
            activation.prox(dtype(a), dtype(c), dtype(q))
            for a in arguments
            for c in arguments
            for q in (1e-15, 1.0, 1e15)
        ]
    )
    assert np.isfinite(u).all()
    nan = activation.prox(dtype(np.nan), dtype(0), dtype(1))
    assert np.isnan(nan) or np.isfinite(nan)  # it ends, whatever it says


@pytest.mark.parametrize("slope", [-0.1, 1.0, 2.0, np.nan])
def test_leaky_relu_refuses_other_slopes(slope):
    with pytest.raises(ValueError, match=r"slope must be in \[0, 1\)"):
        leaky_relu(slope)


@pytest.mark.parametrize("coefficients", [(), (1.0,), (0.0,) * 11, (0.0, np.inf)])
def test_polynomial_refuses_what_is_no_polynomial(coefficients):
    with pytest.raises(ValueError, match="polynomial: "):
        polynomial(*coefficients)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_float32_prox_stays_in_float32(name):
    u, a, c, q = (np.array([x], np.float32) for x in (0.0, 1.0, -0.3, 2.0))
    assert prox_of_all(u, ACTIVATIONS[name], a, c, q) == 4
