"""Proximal operators of the losses against a long-double solver, a million cases each.

Every optimality condition below is one monotone equation in one unknown. It is convex or concave
between the starting point and the root, so Newton's method approaches the root from one side and
needs no safeguard. At the end of this file mpmath checks the solver.
"""

import math

import mpmath
import numpy as np
import pytest
from share import share

from fastbcd.kernels import LOSSES, cross_entropy, huber, quantile, tweedie, update_output_state

DELTA, LEVEL, SMOOTHING, POWER = 0.7, 0.2, 0.1, 1.3
# Losses of the logarithm of a mean: the variance is proportional to this power of the mean.
POWERS = {"poisson": 1, "gamma": 2, "tweedie": POWER}
MADE = {name: make() for name, make in LOSSES.items()}
MADE |= {"huber": huber(DELTA), "quantile": quantile(LEVEL), "tweedie": tweedie(POWER)}
MADE["smoothed"] = cross_entropy(SMOOTHING)
SOFTMAX = ("cross_entropy", "smoothed")
OF_NUMBERS = ("squared", "absolute", "huber", "quantile")
LIMITS = {np.float32: 1e-6, np.float64: 1e-12}
LONG = np.longdouble

pytestmark = pytest.mark.skipif(
    np.finfo(LONG).eps > 1e-3 * np.finfo(np.float64).eps,
    reason="long double is hardly wider than double on this platform",
)


def prox(name, C, Y, weight):
    """Rows of the prox through the V_L-kernel, for q = 1/weight: gamma = 1 keeps U = C exact."""
    V, work = np.zeros_like(C), np.empty((3, C.shape[1]))
    update_output_state(V, MADE[name], C, None, Y, weight, 1.0, 0.0, 0.0, work)
    return V


def smoothed(name, Y):
    """The targets that the cross-entropy of this name sees, in long double."""
    Y = Y.astype(LONG)
    return Y + LONG(SMOOTHING) * (1 / LONG(Y.shape[1]) - Y) if name == "smoothed" else Y


def newton(equation, x):
    """Root of ``x -> (value, slope)``; where ``|slope'| <= |slope|``, to the square of 1e-10."""
    for _ in range(200):
        value, slope = equation(x)
        step = value / slope
        x = x - step
        if np.abs(step).max() <= 1e-10:
            return x
    raise AssertionError("Newton's method does not converge")


def log_omega(r):
    """z with ``exp(z) + z = r``: the logarithm of Wright's omega function."""

    def equation(z):
        w = np.exp(z)
        return w + z - r, w + 1

    return newton(equation, np.where(r > 1, np.log(np.maximum(r, 1)), r))


def softmax_shift(C, Y, q):
    """``v - c = (y - s)/q`` with ``s_j = exp(v_j - t)``, for the t that makes the s_j add up to 1.

    With w_j = s_j/q, ``w_j + log(w_j) = c_j + y_j/q - t - log(q)``: each s_j is convex in t.
    """
    C = C - C.max(axis=1, keepdims=True)  # t falls by as much, and small numbers are finer

    def softmax(t):
        w = np.exp(log_omega(C + Y / q - t - np.log(q)))
        return q * w, w

    def equation(t):
        s, w = softmax(t)
        return s.sum(axis=1, keepdims=True) - 1, -(s / (1 + w)).sum(axis=1, keepdims=True)

    # At this start the largest s_j is 1.
    t = newton(equation, (C - (1 - Y) / q).max(axis=1, keepdims=True))
    s, _ = softmax(t)
    # y - s, without cancellation where y is 0 or 1.
    others = s @ (1 - np.eye(s.shape[1], dtype=LONG))
    return (Y * others - (1 - Y) * s) / q


def logistic_shift(c, q):
    """w with ``q w = 1 / (1 + exp(c + w))``; the start is the inflection, or c beyond it."""

    def equation(w):
        e = np.exp(-np.abs(c + w))
        s = np.where(c + w > 0, e, 1) / (1 + e)
        return q * w - s, q + s * (1 - s)

    return newton(equation, np.maximum(-c, 0))


def poisson_shift(C, Y, q):
    """``v - c`` with ``q (c - v) = exp(v) - y``."""
    Y = np.broadcast_to(Y, C.shape)
    with np.errstate(divide="ignore"):
        logarithm = np.log(Y)
    none = -np.exp(log_omega(C - np.log(q)))  # y = 0: q w = exp(c - w)
    # d = v - log(y), of which the slope is convex: above the root Newton's method falls to it.
    y, e = np.where(Y > 0, Y, 1), np.where(Y > 0, C - logarithm, 0)

    def equation(d):
        return y * np.expm1(d) + q * (d - e), y * np.exp(d) + q

    above = np.where(e > 0, np.minimum(e, np.log1p(q * np.maximum(e, 0) / y)), 0)
    d = newton(equation, above)
    return np.where(Y > 0, d - e, none)


def tweedie_shift(C, Y, q):
    """``v - c`` with ``q (c - v) = exp(a v) - y exp(-b v)``, ``a = 2 - POWER, b = POWER - 1``."""
    a, b = LONG(2) - LONG(POWER), LONG(POWER) - 1
    none = -np.exp(log_omega(a * C - np.log(q / a))) / a
    y = np.where(Y > 0, Y, 1)
    e, scale = np.where(Y > 0, C - np.log(y), 0), y**a

    def equation(d):
        value = scale * (np.expm1(a * d) - np.expm1(-b * d)) + q * (d - e)
        return value, scale * (a * np.exp(a * d) + b * np.exp(-b * d)) + q

    # Concave below this d and convex above; the bounds are those without one exponential.
    inflection = np.full_like(e, 2 * np.log(b / a))
    high = np.minimum(np.maximum(e, 0), np.log1p(q / scale * np.maximum(e, 0)) / a)
    low = np.maximum(np.minimum(e, 0), -np.log1p(-q / scale * np.minimum(e, 0)) / b)
    d = newton(equation, np.where(equation(inflection)[0] <= 0, high, low))
    return np.where(Y > 0, d - e, none)


def minimiser(name, C, Y, q):
    """argmin_v loss(v; y) + q/2 |v - c|^2 of each row, in long double."""
    C, Y, q = C.astype(LONG), Y.astype(LONG), LONG(q)
    if name == "squared":
        return C + (Y - C) / (1 + q)
    if name in SOFTMAX:
        return C + softmax_shift(C, smoothed(name, Y), q)
    if name == "absolute":
        return np.clip(Y, C - 1 / q, C + 1 / q)
    if name == "quantile":
        return np.clip(Y, C - (1 - LONG(LEVEL)) / q, C + LONG(LEVEL) / q)
    if name == "huber":
        r = q * (C - Y) / (1 + q)
        return np.where(np.abs(r) <= DELTA, Y + r, C - np.sign(r) * LONG(DELTA) / q)
    if name == "poisson":
        return C + poisson_shift(C, Y, q)
    if name == "gamma":  # 1 - y exp(-v) is -expm1(-d): for -d the Poisson loss with the target 1
        return C - poisson_shift(np.log(Y) - C, LONG(1), q)
    if name == "tweedie":
        return C + tweedie_shift(C, Y, q)
    z = 2 * Y - 1
    c = z * C
    if name == "hinge":
        return z * np.where(c < 1, np.minimum(1, c + 1 / q), c)
    if name == "exponential":  # q w = exp(-c - w)
        return C + z * np.exp(log_omega(-c - np.log(q)))
    return C + z * logistic_shift(c, q)


def half_deviance(V, Y, power):
    """``y^a (expm1(a d)/a + expm1(-b d)/b)``, or ``exp(a v)/a`` where y is 0.

    Here ``d = v - log(y), a = 2 - power, b = power - 1``; for a = 0, ``expm1(a d)/a`` is d.
    """
    a, b = LONG(2) - LONG(power), LONG(power) - 1
    d = V - np.log(np.where(Y > 0, Y, 1))

    def rise(x):
        return np.expm1(x * d) / x if x else d

    # The series where the two would cancel.
    terms = [
        (a ** (k - 1) + (-1) ** k * b ** (k - 1)) * d**k / LONG(math.factorial(k))
        for k in range(2, 12)
    ]
    excess = np.where(np.abs(d) < 1e-2, sum(terms[::-1]), rise(a) - rise(-b))
    return np.where(Y > 0, Y**a * excess, np.exp(a * V) / (a or 1))


def objective(name, V, C, Y, q):
    """loss(v; y) + q/2 |v - c|^2 in long double: of each output where those part, else of a row."""
    V, C, Y, q = V.astype(LONG), C.astype(LONG), Y.astype(LONG), LONG(q)
    quadratic = q / 2 * (V - C) ** 2
    if name == "squared":
        return (V - Y) ** 2 / 2 + quadratic
    r = V - Y
    if name == "absolute":
        return np.abs(r) + quadratic
    if name == "quantile":
        return np.where(r > 0, 1 - LONG(LEVEL), LONG(LEVEL)) * np.abs(r) + quadratic
    if name == "huber":
        beyond = LONG(DELTA) * (np.abs(r) - LONG(DELTA) / 2)
        return np.where(np.abs(r) <= DELTA, r**2 / 2, beyond) + quadratic
    if name in POWERS:
        return half_deviance(V, Y, POWERS[name]) + quadratic
    if name in SOFTMAX:
        Y = smoothed(name, Y)
        # log(sum exp) - v_j is a gap to the largest output plus a logarithm: nothing cancels.
        gap = V.max(axis=1, keepdims=True) - V
        rest = np.exp(-np.sort(gap, axis=1)[:, 1:]).sum(axis=1, keepdims=True)
        return (Y * (gap + np.log1p(rest)) + quadratic).sum(axis=1, keepdims=True)
    m = (2 * Y - 1) * V
    if name == "hinge":
        return np.maximum(0, 1 - m) + quadratic
    if name == "exponential":
        return np.exp(-m) + quadratic
    return np.maximum(-m, 0) + np.log1p(np.exp(-np.abs(m))) + quadratic


def random_rows(name, n, k, dtype, rng):
    """Centers of size 1e-6 to 1e4 and zeros, and targets, where much or little tells them apart."""
    C = 10 ** rng.uniform(-6, 4, (n, k)) * rng.choice([-1, 1], (n, k))
    # A third of the rows lie near 0, a third near some number.
    place, near = rng.integers(3, size=(n, 1)), rng.uniform(-3, 3, (n, k))
    C = np.select([place == 0, place == 1], [near, C[:, :1] + near], C)
    C[rng.random((n, k)) < 0.02] = 0
    if name in POWERS:
        Y = 10 ** rng.uniform(-6 if name == "gamma" else -1, 4, (n, k))
        Y = Y if name == "gamma" else np.floor(Y)
        # Centers near log(y), and targets that are not whole.
        close = np.exp(np.clip(C, -9, 9))
        Y = np.where(rng.random((n, k)) < 0.7, Y, close)
    elif name in OF_NUMBERS:
        Y = 10 ** rng.uniform(-6, 4, (n, k)) * rng.choice([-1, 1], (n, k))
        close = C * (1 + 10 ** rng.uniform(-16, 0, (n, k)) * rng.choice([-1, 0, 1], (n, k)))
        Y = np.where(rng.random((n, k)) < 0.5, Y, close)
    elif name in SOFTMAX:
        # Eighths: probabilities that add up to 1 in every type.
        soft = rng.multinomial(8, np.full(k, 1 / k), size=n) / 8
        Y = np.where(rng.random((n, 1)) < 0.5, np.eye(k)[rng.integers(k, size=n)], soft)
    else:
        Y = rng.integers(2, size=(n, k))
    return C.astype(dtype), Y.astype(dtype)


def excess(name, C, Y, weight):
    """How much the prox's value exceeds what is possible, relative to the least value."""
    q = 1 / weight
    best = minimiser(name, C, Y, q)
    attained = objective(name, prox(name, C, Y, weight), C, Y, q)
    least = objective(name, best, C, Y, q)
    # The prox must be a number of the type, and none is nearer than the rounded minimiser.
    # Nor can formulas in float64 do without rounding: the shortest, (y + q c)/(1 + q), has four
    # operations, half a unit in the last place each. That moves the value only where loss and
    # distance are next to nothing, as for the squared loss with y = c.
    nearest = best.astype(C.dtype).astype(LONG)
    slack = 2 * np.finfo(np.float64).eps * np.abs(best)
    possible = [objective(name, nearest + s, C, Y, q) for s in (-slack, 0, slack)]
    relative = (attained - np.max(possible, axis=0)) / np.maximum(least, LONG("1e-4900"))
    return np.where(np.isnan(relative), np.inf, relative)


def worst_excess(name, dtype, n_weights, n_rows, k, seed):
    """The largest `excess` of n_weights * n_rows rows of k outputs, and its case."""
    rng = np.random.default_rng(seed)
    worst = (-np.inf,)
    for weight in 10 ** rng.uniform(-4, 6, n_weights):  # q from 1e-6 to 1e4
        C, Y = random_rows(name, n_rows, k, dtype, rng)
        of_rows = excess(name, C, Y, weight).max(axis=1)
        i = of_rows.argmax()
        worst = max(worst, (of_rows[i], weight, C[i].tolist(), Y[i].tolist()))
    return worst


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("dtype", LIMITS)
def test_prox_is_as_good_as_a_long_double_solver(name, dtype):
    k = 2 if name == "logistic" else 4
    worst = worst_excess(name, dtype, n_weights=40, n_rows=100, k=k, seed=0)
    assert worst[0] <= LIMITS[dtype], worst


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("dtype", LIMITS)
def test_prox_is_as_good_as_a_long_double_solver_in_a_million_cases(name, dtype):
    k = 4 if name in SOFTMAX else 1
    n_weights = len(share(range(200)))
    worst = worst_excess(name, dtype, n_weights=n_weights, n_rows=5000, k=k, seed=1)
    assert worst[0] <= LIMITS[dtype], worst


@pytest.mark.parametrize(
    ("c", "y"),
    [
        ([-9335.0, 45.0, 7.0], [0.5, 0.25, 0.25]),
        ([21.0, -4.0, -9060.0], [0.25, 0.25, 0.5]),
        ([7140.0, 7167.0, 28.0, 53.0], [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_prox_of_cross_entropy_arrives_however_far_soft_targets_pull(c, y):
    assert excess("cross_entropy", np.array([c]), np.array([y]), 1e6) <= LIMITS[np.float64]


MARGINS = {  # phi(m) and its slope, but at the kink of the hinge
    "logistic": (lambda m: mpmath.log1p(mpmath.exp(-m)), lambda m: -1 / (1 + mpmath.exp(m))),
    "hinge": (lambda m: max(0, 1 - m), lambda m: -1 if m < 1 else 0),
    "exponential": (lambda m: mpmath.exp(-m), lambda m: -mpmath.exp(-m)),
}
MARGINS["logistic_ovr"] = MARGINS["logistic"]


def kink(v, y, below, above):
    """The interval of slopes at v, of a loss with a kink at y."""
    return (below if v <= y else above), (above if v >= y else below)


def both(slope):
    return slope, slope


def nearest(interval, pull):
    """The slope in the interval that balances the pull best."""
    return min(max(interval[0], -pull), interval[1])


def poisson_value(v, y):
    return mpmath.exp(v) - (y + y * (v - mpmath.log(y)) if y else 0)


def tweedie_value(v, y):
    a, b = 2 - mpmath.mpf(POWER), mpmath.mpf(POWER) - 1
    return mpmath.exp(a * v) / a + y * mpmath.exp(-b * v) / b - y**a / (a * b)


def tweedie_slope(v, y):
    power = mpmath.mpf(POWER)
    return mpmath.exp((2 - power) * v) - y * mpmath.exp((1 - power) * v)


def huber_value(r):
    return r * r / 2 if abs(r) <= DELTA else DELTA * (abs(r) - mpmath.mpf(DELTA) / 2)


SLOPES = {  # values and intervals of slopes
    "absolute": (lambda v, y: abs(v - y), lambda v, y: kink(v, y, -1, 1)),
    "quantile": (
        lambda v, y: (LEVEL if v < y else 1 - mpmath.mpf(LEVEL)) * abs(v - y),
        lambda v, y: kink(v, y, -mpmath.mpf(LEVEL), 1 - mpmath.mpf(LEVEL)),
    ),
    "huber": (
        lambda v, y: huber_value(v - y),
        lambda v, y: both(max(min(v - y, DELTA), -DELTA)),
    ),
    "poisson": (poisson_value, lambda v, y: both(mpmath.exp(v) - y)),
    "gamma": (
        lambda v, y: y * mpmath.exp(-v) + v - mpmath.log(y) - 1,
        lambda v, y: both(1 - y * mpmath.exp(-v)),
    ),
    "tweedie": (tweedie_value, lambda v, y: both(tweedie_slope(v, y))),
}


def value_and_gradient(name, v, c, y, q):
    """loss(v; y) + q/2 |v - c|^2 and its gradient, in mpmath, from lists of its numbers."""
    k = range(len(v))
    value = q / 2 * sum((v[j] - c[j]) ** 2 for j in k)
    pull = [q * (v[j] - c[j]) for j in k]
    if name == "squared":
        return value + sum((v[j] - y[j]) ** 2 for j in k) / 2, [pull[j] + v[j] - y[j] for j in k]
    if name in SOFTMAX:  # odds[j] = 1/softmax_j - 1
        if name == "smoothed":
            y = [y[j] + mpmath.mpf(SMOOTHING) * (mpmath.mpf(1) / len(v) - y[j]) for j in k]
        odds = [sum(mpmath.exp(v[i] - v[j]) for i in k if i != j) for j in k]
        slopes = [((1 - y[j]) - y[j] * odds[j]) / (1 + odds[j]) for j in k]
        value += sum(y[j] * mpmath.log1p(odds[j]) for j in k)
        return value, [pull[j] + slopes[j] for j in k]
    if name in SLOPES:
        values, slopes = SLOPES[name]
        value += sum(values(v[j], y[j]) for j in k)
        return value, [pull[j] + nearest(slopes(v[j], y[j]), pull[j]) for j in k]
    phi, slope = MARGINS[name]
    z = [2 * y[j] - 1 for j in k]
    gradient = [pull[j] + z[j] * slope(z[j] * v[j]) for j in k]
    if name == "hinge":  # at the kink any slope from -1 to 0 will do
        balanced = [z[j] * v[j] == 1 and 0 <= z[j] * pull[j] <= 1 for j in k]
        gradient = [0 if balanced[j] else gradient[j] for j in k]
    return value + sum(phi(z[j] * v[j]) for j in k), gradient


@pytest.mark.parametrize("name", MADE)
def test_mpmath_confirms_the_long_double_solver(name):
    rng = np.random.default_rng(2)
    for q in 10 ** rng.uniform(-6, 4, 30):
        C, Y = random_rows(name, 1, 4, np.float64, rng)
        V = minimiser(name, C, Y, q)
        value = objective(name, V, C, Y, q).sum()
        with mpmath.workdps(40):
            v, c, y = ([mpmath.mpmathify(x) for x in X[0]] for X in (V, C, Y))
            exact, gradient = value_and_gradient(name, v, c, y, mpmath.mpmathify(q))
            # Strong convexity: the least value is no further below than |gradient|^2 / 2q.
            bound = sum(g**2 for g in gradient) / (2 * mpmath.mpmathify(q))
            underflow = mpmath.mpf("1e-4900")
            assert abs(mpmath.mpmathify(value) - exact) <= 1e-17 * exact + underflow
            assert bound <= 1e-14 * exact + underflow
