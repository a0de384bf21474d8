"""Losses: their formulas, and proximal operators against high-precision minimisers."""

from itertools import pairwise

import mpmath
import numpy as np
import pytest
import scipy.special
from share import count

from fastbcd import InputError, Problem, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.callbacks import Certify, Objective
from fastbcd.kernels import (
    LOSSES,
    Loss,
    cross_entropy,
    huber,
    loss_sum,
    quantile,
    tweedie,
    update_output_state,
)

MARGIN_LOSSES = {
    "logistic": lambda m: np.logaddexp(0, -m),
    "logistic_ovr": lambda m: np.logaddexp(0, -m),
    "hinge": lambda m: np.maximum(0, 1 - m),
    "exponential": lambda m: np.exp(-m),
}
DELTA, LEVEL, SMOOTHING, POWER = 0.7, 0.2, 0.1, 1.3
A, B = 2 - POWER, POWER - 1
ELEMENTWISE = {
    "absolute": lambda V, Y: np.abs(V - Y),
    "huber": lambda V, Y: scipy.special.huber(DELTA, V - Y),
    "quantile": lambda V, Y: np.where(V < Y, LEVEL, 1 - LEVEL) * np.abs(V - Y),
    # Half the deviance; scipy's is that of the mean.
    "poisson": lambda V, Y: scipy.special.kl_div(Y, np.exp(np.minimum(V, 700))),
    "gamma": lambda V, Y: np.expm1(np.minimum(np.log(Y) - V, 700)) - (np.log(Y) - V),
    "tweedie": lambda V, Y: np.exp(A * V) / A + Y * np.exp(-B * V) / B - Y**A / (A * B),
}
# Losses of logarithms: the second derivative, and the largest of the numbers that cancel.
LOG_LINK = {
    "poisson": lambda V, Y, log_y: (np.exp(V), np.exp(V) + Y * (1 + np.abs(V) + np.abs(log_y))),
    "gamma": lambda V, Y, log_y: (Y * np.exp(-V), Y * np.exp(-V) + np.abs(V) + np.abs(log_y)),
    "tweedie": lambda V, Y, log_y: (
        A * np.exp(A * V) + B * Y * np.exp(-B * V),
        np.exp(A * V) / A + Y * np.exp(-B * V) / B + Y**A / (A * B),
    ),
}
MADE = {name: make() for name, make in LOSSES.items()}
MADE |= {"huber": huber(DELTA), "quantile": quantile(LEVEL), "tweedie": tweedie(POWER)}
MADE["smoothed"] = cross_entropy(SMOOTHING)
LIMITS = {np.float32: 1e-6, np.float64: 1e-12}


def reference(name, V, Y):
    """Loss of each row, in float64, written again."""
    V, Y = V.astype(np.float64), Y.astype(np.float64)
    if name == "smoothed":
        Y = (1 - SMOOTHING) * Y + SMOOTHING / Y.shape[1]
    if name == "squared":
        return 0.5 * ((V - Y) ** 2).sum(axis=1)
    if name in ("cross_entropy", "smoothed"):
        return (Y * (np.logaddexp.reduce(V, axis=1, keepdims=True) - V)).sum(axis=1)
    if name in ELEMENTWISE:
        return ELEMENTWISE[name](V, Y).sum(axis=1)
    return MARGIN_LOSSES[name]((2 * Y - 1) * V).sum(axis=1)


def random_rows(name, n, k, dtype, seed, largest=2.0):
    """Centers of magnitude 1e-6 to 10^largest, targets of the loss, q from 1e-6 to 1e4."""
    rng = np.random.default_rng(seed)
    C = 10 ** rng.uniform(-6, largest, (n, k)) * rng.choice([-1, 1], (n, k))
    Y = one_hot(rng.integers(k, size=n), k)
    if name in ELEMENTWISE:
        Y = 10 ** rng.uniform(-6, largest, (n, k)) * rng.choice([-1, 1], (n, k))
    if name in ("poisson", "tweedie"):
        Y = np.floor(np.abs(Y))
    elif name == "gamma":
        Y = np.abs(Y)
    return C.astype(dtype), Y.astype(dtype), 10 ** rng.uniform(-6, 4, n)


def log_of(Y):
    """log(y), or 0 where y is 0."""
    return np.log(np.where(Y > 0, Y, 1).astype(np.float64))


def prox(name, C, Y, q):
    """Rows of the prox through the V_L-kernel: gamma = q and U = C."""
    V, work = np.zeros_like(C), np.empty((3, C.shape[1]))
    loss = MADE[name]
    for i in range(len(C)):
        rows = slice(i, i + 1)
        update_output_state(V[rows], loss, C[rows], None, Y[rows], 1.0, q[i], 0.0, 0.0, work)
    return V


def high_precision_prox(name, c, y, q):
    """argmin_v loss(v; y) + q/2 |v - c|^2 with 40 digits, from its optimality condition."""
    with mpmath.workdps(40):
        c, y = [mpmath.mpf(float(x)) for x in c], [mpmath.mpf(float(x)) for x in y]
        q = mpmath.mpf(float(q))
        if name in ELEMENTWISE:
            return [_elementwise_prox(name, c_j, y_j, q) for c_j, y_j in zip(c, y, strict=True)]
        if name == "squared":
            return [(y_j + q * c_j) / (1 + q) for c_j, y_j in zip(c, y, strict=True)]
        if name == "smoothed":
            y = [y_j + mpmath.mpf(SMOOTHING) * (mpmath.mpf(1) / len(y) - y_j) for y_j in y]
        if name in ("cross_entropy", "smoothed"):
            return _softmax_prox(c, y, q)
        solve = {
            "hinge": lambda m: m if m >= 1 else min(mpmath.mpf(1), m + 1 / q),
            "exponential": lambda m: m + mpmath.lambertw(mpmath.exp(-m) / q).real,
        }.get(name, lambda m: _logistic_prox(m, q))
        return [(2 * y_j - 1) * solve((2 * y_j - 1) * c_j) for c_j, y_j in zip(c, y, strict=True)]


def _bisect(increasing, low, high):
    for _ in range(220):
        middle = (low + high) / 2
        low, high = (middle, high) if increasing(middle) < 0 else (low, middle)
    return (low + high) / 2


def _logistic_prox(m, q):
    return _bisect(lambda x: q * (x - m) - 1 / (1 + mpmath.exp(x)), m, m + 1 / q)


def _elementwise_prox(name, c, y, q):
    # The slope of the objective at v, or its limit from above at a kink: it rises with v.
    slope = {
        "absolute": lambda v: 1 if v >= y else -1,
        "huber": lambda v: max(min(v - y, DELTA), -DELTA),
        "quantile": lambda v: 1 - mpmath.mpf(LEVEL) if v >= y else -mpmath.mpf(LEVEL),
        "poisson": lambda v: mpmath.exp(v) - y,
        "gamma": lambda v: 1 - y * mpmath.exp(-v),
        "tweedie": lambda v: mpmath.exp(A * v) - y * mpmath.exp(-B * v),
    }[name]
    if name in LOG_LINK and y == 0:  # where the slope is 1 at most, and where it is the pull
        low, high = min(c, 0) - 1 - 1 / q, c
    elif name in LOG_LINK:
        low, high = sorted([c, mpmath.log(y)])
    else:  # no slope is beyond 1
        low, high = c - 1 / q, c + 1 / q
    return _bisect(lambda v: slope(v) + q * (v - c), low, high)


def _softmax_prox(c, y, q):
    # With v_j = c_j + (y_j - s_j)/q and s_j = exp(v_j - t), each s_j is a Lambert W of
    # t = log sum exp(v), and t is the number for which they add up to 1.
    def s(t):
        return [
            q * mpmath.lambertw(mpmath.exp(c_j + y_j / q - t) / q).real
            for c_j, y_j in zip(c, y, strict=True)
        ]

    low, high = min(c) - 2 - 2 / q, max(c) + 2 + mpmath.log(len(c)) + 2 / q
    t = _bisect(lambda t: 1 - sum(s(t)), low, high)
    return [c_j + (y_j - s_j) / q for c_j, y_j, s_j in zip(c, y, s(t), strict=True)]


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("dtype", LIMITS)
def test_prox_is_as_good_as_a_high_precision_solver(name, dtype):
    C, Y, q = random_rows(
        name, count(40, at_least=10), 2 if name == "logistic" else 4, dtype, seed=1
    )
    V = prox(name, C, Y, q)
    exact = np.array(
        [
            [float(x) for x in high_precision_prox(name, *row)]
            for row in zip(C.astype(np.float64), Y, q, strict=True)
        ]
    )
    # The minimiser is well conditioned: its error is a few units in the last place.
    eps = float(np.finfo(dtype).eps)
    scale = np.maximum(np.abs(exact), np.abs(C))
    if name in LOG_LINK:  # the minimiser lies between the center and log(y)
        scale = np.maximum(scale, np.abs(log_of(Y)))
    scale = scale.max(axis=1, keepdims=True)
    assert (np.abs(V - exact) / scale).max() <= 16 * eps


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("dtype", LIMITS)
def test_no_perturbation_beats_the_prox(name, dtype):
    rng = np.random.default_rng(0)
    C, Y, q = random_rows(name, 3000, 2 if name == "logistic" else 5, dtype, seed=2)
    V = prox(name, C, Y, q)

    def objective(V):
        gap = V.astype(np.float64) - C
        return reference(name, V, Y) + 0.5 * q * (gap**2).sum(axis=1)

    attained = objective(V)
    scale = np.maximum(np.abs(V), np.abs(C)).astype(np.float64)
    eps = float(np.finfo(dtype).eps)
    curvature = 2.0 + q + (attained if name == "exponential" else 0.0)
    if name in LOG_LINK:
        second, cancelling = LOG_LINK[name](V.astype(np.float64), Y, log_of(Y))
        curvature += second.sum(axis=1)
        scale = np.maximum(scale, np.abs(log_of(Y)))
    rounding = 8 * curvature * ((eps * scale) ** 2).sum(axis=1)
    rounding += 2e-15 * (1 + scale.sum(axis=1) + q * (scale**2).sum(axis=1))
    if name in LOG_LINK:
        rounding += 2e-15 * cancelling.sum(axis=1)
    for size in (1e-6, 1e-4, 1e-2, 1.0):
        other = V + size * (scale + 1) * rng.standard_normal(V.shape)
        best = objective(other)
        assert (attained - rounding <= best * (1 + LIMITS[dtype])).all(), size


@pytest.mark.parametrize("name", MADE)
def test_loss_sum_is_the_formula_and_the_gradient_its_derivative(name):
    V, Y, _ = random_rows(name, 30, 2, np.float64, seed=3, largest=1.0)
    loss = MADE[name]
    assert loss_sum(loss, V, Y) == pytest.approx(reference(name, V, Y).sum(), rel=1e-13)
    for v, y in zip(V, Y, strict=True):
        low, high = np.empty(2), np.empty(2)
        loss.row_subdifferential(low, high, v, y)
        if "row_gradient" in loss.functions:
            gradient = np.empty(2)
            loss.row_gradient(gradient, v, y)
            np.testing.assert_array_equal([gradient, gradient], [low, high])
        rounding = 1e-6 + 1e-9 * loss.row_value(v, y)
        for j in range(2):
            h = np.zeros(2)
            h[j] = 1e-6 * max(1.0, abs(v[j]))
            rise = loss.row_value(v + h, y) - loss.row_value(v - h, y)
            assert low[j] == pytest.approx(rise / (2 * h[j]), abs=rounding, rel=1e-6)
            assert low[j] == high[j]


@pytest.mark.parametrize("name", MADE)
def test_a_network_with_each_loss_descends_and_learns(name):
    rng = np.random.default_rng(0)
    k = 2 if name == "logistic" else 3
    labels = rng.integers(k, size=120)
    X = rng.standard_normal((k, 5))[labels] * 2 + rng.standard_normal((120, 5))
    problem = Problem((5, 16, k), loss=MADE[name], weight_penalty="ridge:1e-3")
    updates = ["prox"] + ["prox-linear"] * (problem.loss.lipschitz is not None)
    for update in updates:
        solver = ThreeSplitting(problem, alpha=0.1, loss_update=update, dtype="float64")
        state = solver.init(X, one_hot(labels, k) + 0.1 * (name == "gamma"))
        F = [solver.objective(state)]
        for _ in range(60):
            F.append(solver.objective(solver.step(state)))
        assert all(new <= old * (1 + 1e-12) for old, new in pairwise(F))
        assert np.mean(state.V[-1].argmax(axis=1) == labels) >= 0.9


@pytest.mark.parametrize("name", ["absolute", "quantile"])
def test_the_slopes_at_a_kink_are_those_on_both_sides(name):
    loss, y, h = MADE[name], np.array([-3.0, 0.0, 1e5]), 1e-3
    low, high = np.empty(3), np.empty(3)
    for ulps in (-1, 0, 1):
        loss.row_subdifferential(low, high, y + ulps * np.spacing(y) * (y != 0), y)
        for j in range(3):
            step = h * np.eye(3)[j]
            assert high[j] == pytest.approx(loss.row_value(y + step, y) / h)
            assert low[j] == pytest.approx(-loss.row_value(y - step, y) / h)


def test_each_output_has_its_own_level_of_a_quantile_loss():
    levels = (0.1, 0.5, 0.8)
    V, Y, _ = random_rows("quantile", 20, 3, np.float64, seed=4)
    loss = quantile(*levels)
    single = [loss_sum(quantile(t), V[:, [j]], Y[:, [j]]) for j, t in enumerate(levels)]
    assert loss_sum(loss, V, Y) == pytest.approx(sum(single))
    out, work = np.empty(3), np.empty((2, 3))
    for v, y in zip(V, Y, strict=True):
        loss.row_prox(out, v, work, y, 0.3)
        for j, t in enumerate(levels):
            alone = np.empty(1)
            quantile(t).row_prox(alone, v[[j]], work, y[[j]], 0.3)
            assert alone[0] == pytest.approx(out[j], rel=1e-15)


@pytest.mark.parametrize("solver", [ThreeSplitting, TwoSplitting])
@pytest.mark.parametrize("loss", ["absolute", "huber:0.3", "quantile:0.2,0.7", "poisson", "gamma"])
def test_regression_descends_as_the_certificate_says(solver, loss):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 4))
    Y = np.exp(X[:, :2]) + 0.3 * rng.standard_t(2, (80, 2))
    if loss in ("poisson", "gamma"):
        Y = np.round(np.abs(Y)) + (loss == "gamma")
    trained = solver(Problem((4, 12, 2), "tanh", loss=loss), alpha=0.1, dtype="float64")
    result = trained.fit(X, Y, 40, callbacks=[Objective(), Certify()])
    F = [row["objective"] for row in result.history]
    assert all(new <= old * (1 + 1e-12) for old, new in pairwise(F))
    assert F[-1] < 0.7 * F[0]
    assert result.certificate.descended
    assert result.certificate.decreased_sufficiently


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("huber:0", "huber: delta must be a finite number above 0, got 0"),
        ("quantile:1", "quantile: a level must lie between 0 and 1, got 1"),
        ("quantile:0.1,0.9", "loss: quantile:0.1,0.9 is for 2 outputs, but the network has 3"),
        ("poisson:1", "'poisson' does not take 1 parameters"),
        ("tweedie:1", r"tweedie: the power must lie between 1 \(poisson\) and 2 \(gamma\), got 1"),
        ("tweedie:2", r"tweedie: the power must lie between 1 \(poisson\) and 2 \(gamma\), got 2"),
        ("cross_entropy:1", "cross_entropy: smoothing must be from 0 to below 1, got 1"),
        ("cross_entropy:-0.1", "cross_entropy: smoothing must be from 0 to below 1, got -0.1"),
    ],
)
def test_wrong_parameters_of_a_loss_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        Problem((2, 3), loss=text)


def test_losses_that_an_earlier_version_pickled_get_the_later_attributes():
    for name, in_target_units in (("squared", True), ("hinge", False)):
        later = ("n_outputs", "in_target_units", "log_link", "stiffness")
        stored = {key: value for key, value in vars(MADE[name]).items() if key not in later}
        loss = Loss.__new__(Loss)
        loss.__setstate__(stored)
        assert (loss.n_outputs, loss.in_target_units) == (None, in_target_units)
        assert (loss.log_link, loss.stiffness) == (False, 1.0)


BAD_TARGETS = [
    ("poisson", -np.eye(3), "poisson needs targets that are numbers that are not negative"),
    ("tweedie", -np.eye(3), "tweedie needs targets that are numbers that are not negative"),
    ("gamma", np.eye(3), "gamma needs targets that are numbers above 0"),
    ("poisson", np.nan * np.eye(3), "Y must be finite"),
    ("logistic", np.eye(3), "logistic is for two classes, but Y has 3 outputs; use cross_entropy"),
    ("hinge", -np.eye(3), "hinge needs targets that are 0 or 1"),
    ("cross_entropy", 2 * np.eye(3), "cross_entropy needs targets that are probabilities"),
    ("exponential", 0.5 * np.eye(3), "exponential needs targets that are 0 or 1"),
]


@pytest.mark.parametrize(("name", "Y", "message"), BAD_TARGETS)
def test_targets_that_do_not_fit_the_loss_are_refused(name, Y, message):
    with pytest.raises(InputError, match=message):
        ThreeSplitting(Problem((2, 3), loss=name)).init(np.ones((3, 2)), Y)


@pytest.mark.parametrize(
    ("loss", "gamma", "alpha", "message"),
    [
        ("squared", 0.5, 0.2, r"alpha must be above 0.25 = max\(0, \(L - gamma\) / 2\)"),
        ("squared", 2.0, 0.0, "alpha must be above 0 "),
        ("absolute", 1.0, 1.0, "prox-linear needs a loss whose gradient is Lipschitz"),
        ("quantile:0.3", 1.0, 1.0, "prox-linear needs a loss whose gradient is Lipschitz"),
        ("gamma", 1.0, 1.0, "prox-linear needs a loss whose gradient is Lipschitz"),
        ("poisson", 1.0, 1.0, "prox-linear needs a loss whose gradient is Lipschitz"),
        ("huber:0.3", 0.5, 0.2, r"alpha must be above 0.25 = max\(0, \(L - gamma\) / 2\)"),
        ("hinge", 1.0, 1.0, "prox-linear needs a loss whose gradient is Lipschitz"),
    ],
)
def test_prox_linear_outside_its_theorem_is_refused(loss, gamma, alpha, message):
    problem = Problem((2, 3), loss=loss, gamma=gamma)
    with pytest.raises(InputError, match=message):
        ThreeSplitting(problem, alpha=alpha, loss_update="prox-linear")


def test_targets_of_an_unknown_kind_are_refused():
    for wrong in ("numbers", (0.1,)):
        with pytest.raises(ValueError, match="targets must be one of real, not negative, positive"):
            Loss("own", wrong, **MADE["huber"].functions)


def test_an_unknown_loss_update_is_refused():
    with pytest.raises(InputError, match="loss_update must be one of prox, prox-linear"):
        ThreeSplitting(Problem((2, 3)), loss_update="newton")
