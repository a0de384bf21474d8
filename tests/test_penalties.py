"""Penalised W-blocks against scikit-learn and SciPy; penalties by their definition."""

import numpy as np
import pytest
from oracle import penalty_value
from scipy.optimize import lsq_linear, nnls
from sklearn.linear_model import ElasticNet, Lasso

from fastbcd import Problem, ThreeSplitting, kernels, one_hot
from fastbcd.kernels import PENALTIES, box, elastic_net, l1, nonnegative, ridge

ALL = [ridge(0.7), PENALTIES["none"](), l1(0.3), elastic_net(0.4, 0.25), nonnegative(), box(-1, 2)]


def w_block(A, y, penalty, W=None):
    """One W-block: argmin 1/2 |y - A w - b|^2 + r(w), by coordinate descent on the Gram matrix."""
    n, d = A.shape
    W = np.zeros((1, d + 1)) if W is None else W
    hat = np.hstack([A, np.ones((n, 1))])
    H, cross = np.empty((d + 1, d + 1)), (y - hat @ W[0])[None] @ hat
    kernels.coordinate_hessian(H, hat.T @ hat, 1.0, 0.0)
    unfinished = kernels.coordinate_descent(
        W, penalty, H, cross, 1.0, 1, 1e-13, 100_000, np.empty(d + 1), np.empty(d + 1), None
    )
    assert unfinished == 0
    return W[0, :-1], W[0, -1]


def problem_of(seed, n=60, d=12):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d)) * 10 ** rng.uniform(-1, 1, d)
    return A, A @ (rng.standard_normal(d) * (rng.random(d) < 0.5)) + 3 + rng.standard_normal(n)


@pytest.mark.parametrize("seed", range(5))
def test_l1_agrees_with_lasso_and_has_its_exact_zeros(seed):
    A, y = problem_of(seed)
    w, b = w_block(A, y, l1(20.0))
    other = Lasso(alpha=20.0 / len(y), tol=1e-14, max_iter=1_000_000).fit(A, y)
    np.testing.assert_allclose(w, other.coef_, rtol=1e-6, atol=1e-9)
    assert b == pytest.approx(other.intercept_, rel=1e-6)
    assert ((w == 0) == (other.coef_ == 0)).all()
    assert (w == 0).any()


@pytest.mark.parametrize("seed", range(5))
def test_elastic_net_agrees_with_scikit_learn(seed):
    A, y = problem_of(seed)
    w, b = w_block(A, y, elastic_net(15.0, 0.4))
    other = ElasticNet(alpha=15.0 / len(y), l1_ratio=0.4, tol=1e-14, max_iter=1_000_000).fit(A, y)
    np.testing.assert_allclose(w, other.coef_, rtol=1e-6, atol=1e-9)
    assert b == pytest.approx(other.intercept_, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_nonnegative_agrees_with_nnls(seed):
    A, y = problem_of(seed)
    w, b = w_block(A, y, nonnegative())
    # The free bias: nnls with a column of ones of either sign.
    ones = np.ones((len(y), 1))
    other, _ = nnls(np.hstack([A, ones, -ones]), y)
    np.testing.assert_allclose(w, other[:-2], rtol=1e-6, atol=1e-8)
    assert b == pytest.approx(other[-2] - other[-1], rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_box_agrees_with_lsq_linear(seed):
    A, y = problem_of(seed)
    w, b = w_block(A, y, box(-0.2, 0.5))
    d = A.shape[1]
    bounds = ([-0.2] * d + [-np.inf], [0.5] * d + [np.inf])
    other = lsq_linear(np.hstack([A, np.ones((len(y), 1))]), y, bounds, tol=1e-14, method="bvls")
    np.testing.assert_allclose(w, other.x[:-1], rtol=1e-6, atol=1e-8)
    assert b == pytest.approx(other.x[-1], rel=1e-6)


def test_coordinate_descent_with_a_ridge_agrees_with_the_linear_solve():
    A, y = problem_of(0)
    w, b = w_block(A, y, ridge(2.0))
    hat = np.hstack([A, np.ones((len(y), 1))])
    H = hat.T @ hat + 2.0 * np.diag([1.0] * A.shape[1] + [0.0])
    np.testing.assert_allclose([*w, b], np.linalg.solve(H, hat.T @ y), rtol=1e-8)


def test_a_warm_start_ends_at_the_same_minimiser():
    A, y = problem_of(1)
    cold = w_block(A, y, l1(20.0))[0]
    warm = w_block(A, y, l1(20.0), W=np.random.default_rng(0).standard_normal((1, 13)))[0]
    np.testing.assert_allclose(warm, cold, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("penalty", ALL, ids=repr)
def test_prox_is_the_minimiser_and_the_sum_the_formula(penalty):
    rng = np.random.default_rng(0)
    W = rng.standard_normal((4, 3)) * 3
    total = kernels.penalty_sum(penalty, W)
    assert total == pytest.approx(penalty_value(penalty, W), rel=1e-13)
    grid = np.linspace(-12, 12, 200_001)
    with np.errstate(invalid="ignore"):
        r = np.array([kernels.penalty_sum(penalty, np.array([[w]])) for w in grid[::50]])
    coarse = grid[::50]
    for c, step in zip(rng.standard_normal(20) * 4, 10 ** rng.uniform(-3, 2, 20), strict=True):
        w = penalty.prox(c, step)
        attained = kernels.penalty_sum(penalty, np.array([[w]])) + (w - c) ** 2 / (2 * step)
        assert attained <= (r + (coarse - c) ** 2 / (2 * step)).min() + 1e-12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "penalty", ["l1:0.02", "elastic_net:0.02,0.5", "nonnegative", "box:-0.1,0.1"]
)
def test_a_network_with_each_penalty_descends_and_keeps_its_constraint(penalty, dtype):
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=150)
    X = rng.standard_normal((3, 6))[labels] * 2 + rng.standard_normal((150, 6))
    solver = ThreeSplitting(Problem((6, 20, 3), weight_penalty=penalty), alpha=0.01, dtype=dtype)
    state = solver.init(X, one_hot(labels, 3))
    F = [solver.objective(state)]
    for _ in range(40):
        F.append(solver.objective(solver.step(state)))
    assert np.isfinite(F).all()
    assert (np.diff(F) <= {"float32": 1e-7, "float64": 1e-12}[dtype] * np.array(F[:-1])).all()
    W = np.concatenate([w[:, :-1].ravel() for w in state.W[1:]])
    if "nonnegative" in penalty:
        assert W.min() == 0
    elif "box" in penalty:
        assert np.float32(-0.1) <= W.min()
        assert W.max() <= np.float32(0.1)
    else:
        assert (W == 0).mean() > 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: box(1, -1), "box: needs two numbers, the lower one first, got 1, -1"),
        (lambda: elastic_net(1, 2), "elastic_net: ratio must lie between 0 and 1, got 2"),
        (lambda: l1(-1), "l1: strength must lie between 0 and 1e15, got -1"),
    ],
)
def test_parameters_that_are_none_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
