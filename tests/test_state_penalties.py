"""Penalties and constraints on states: each block is the minimiser, whatever the loss."""

from itertools import product

import numpy as np
import pytest
from oracle import oracle_of
from scipy.optimize import lsq_linear, nnls
from share import share
from sklearn.linear_model import Lasso

from fastbcd import Problem, ThreeSplitting, TwoSplitting, kernels, one_hot
from fastbcd.kernels import LOSSES, box, elastic_net, l1, none, nonnegative, ridge

NONSMOOTH = [l1(0.3), elastic_net(0.5, 0.4), nonnegative(), box(-0.3, 0.5)]


def solve(penalty, V, C, U_next, W, bias, kappa=1.4, rho=0.6, report=None):
    """The V_l-block by coordinate descent, in float64."""
    m, d = V.shape
    H = np.empty((d, d))
    kernels.state_hessian(H, W.copy(), kappa, rho)
    kernels.solve_state_penalised(
        *(V, C, penalty, U_next, W, bias, H, kappa, rho, 1e-14, 100_000),
        *(np.empty(U_next.shape), np.empty((m, d)), np.empty((m, d)), np.empty((2, d)), report),
    )
    return V


def arrays(d=6, d_next=4, m=5, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(m, d), (m, d), (m, d_next), (d_next, d), (d_next,)]
    return [rng.standard_normal(shape) for shape in shapes]


def as_regression(c, u, W, bias, kappa=1.4, rho=0.6):
    """The same least squares problem with rows stacked: 1/2 |A v - b|^2."""
    A = np.vstack([np.sqrt(kappa) * np.eye(len(c)), np.sqrt(rho) * W])
    return A, np.concatenate([np.sqrt(kappa) * c, np.sqrt(rho) * (u - bias)])


@pytest.mark.parametrize("seed", range(3))
def test_the_state_block_agrees_with_scipy_and_scikit_learn(seed):
    V, C, U_next, W, bias = arrays(seed=seed)
    for penalty in (nonnegative(), box(-0.3, 0.5), l1(0.3)):
        solved = solve(penalty, penalty.prox(0.0, 0.0) + np.zeros_like(V), C, U_next, W, bias)
        for v, c, u in zip(solved, C, U_next, strict=True):
            A, b = as_regression(c, u, W, bias)
            if penalty.name == "nonnegative":
                other = nnls(A, b)[0]
            elif penalty.name == "box":
                other = lsq_linear(A, b, (-0.3, 0.5), tol=1e-14, method="bvls").x
            else:
                model = Lasso(alpha=0.3 / len(b), tol=1e-14, max_iter=10**6, fit_intercept=False)
                other = model.fit(A, b).coef_
                assert ((v == 0) == (other == 0)).all()
            np.testing.assert_allclose(v, other, rtol=1e-6, atol=1e-8)


def test_the_state_block_reports_its_decrease():
    V, C, U_next, W, bias = arrays()
    penalty = elastic_net(0.5, 0.4)

    def value(V):
        gap = U_next - V @ W.T - bias
        couplings = 0.7 * np.sum((V - C) ** 2) + 0.3 * np.sum(gap**2)
        return couplings + kernels.penalty_sum(penalty, V)

    old, report = V.copy(), np.zeros(2)
    solve(penalty, V, C, U_next, W, bias, report=report)
    assert report == pytest.approx([value(old) - value(V), np.sum((V - old) ** 2)], rel=1e-10)


# Each pair compiles a kernel. Every fifth of them are still all losses and all penalties.
PAIRS = share(product(LOSSES, [none(), ridge(0.4), *NONSMOOTH]), at_most=9)


@pytest.mark.parametrize(("name", "penalty"), PAIRS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.soak)])
def test_no_perturbation_beats_the_penalised_output_state(name, penalty, dtype):
    rng = np.random.default_rng(0)
    n, k = 300, 2 if name == "logistic" else 4
    loss = LOSSES[name]()
    Y = (one_hot(rng.integers(k, size=n), k) + 0.1 * (loss.targets == "positive")).astype(dtype)
    U = (rng.standard_normal((n, k)) * 10 ** rng.uniform(-3, 1, (n, k))).astype(dtype)
    start = rng.standard_normal((n, k)).astype(dtype)
    weight, gamma, alpha = 0.8, 0.5, 0.3
    V, work = start.copy(), np.empty((3, k))
    kernels.update_output_state_penalised(V, loss, penalty, U, None, Y, weight, gamma, alpha, work)

    def value(V):
        V64, terms = V.astype(np.float64), np.zeros(n)
        for i in range(n):
            terms[i] = weight * loss.row_value(V64[i], Y[i])
            terms[i] += weight * sum(penalty.value(v) for v in V64[i])
        terms += gamma / 2 * np.sum((V64 - U) ** 2, axis=1)
        return terms + alpha / 2 * np.sum((V64 - start) ** 2, axis=1)

    attained, eps = value(V), float(np.finfo(dtype).eps)
    # Rounding v moves a smooth minimum in second order, a kink's neighbourhood in first.
    rounding = 1e-14 * attained + 40 * eps**2 * (1 + np.abs(V).max(axis=1)) ** 2
    if penalty.name == "box":  # the nearest float of a bound lies beside it
        rounding += 4 * eps * np.abs(V).max(axis=1)
    for size in (1e-6, 1e-4, 1e-2, 1.0):
        other = V + size * rng.standard_normal(V.shape)
        other[rng.random(V.shape) < 0.4] = V[rng.random(V.shape) < 0.4].mean()
        mask = rng.random(V.shape) < 0.5
        other[mask] = V[mask]
        other = np.array([[penalty.prox(v, 0.0) for v in row] for row in other])
        assert (attained <= value(other) + rounding).all(), size
    if penalty.name == "l1":
        assert (V == 0).any()


PENALTIES = ["l1:0.05", "elastic_net:0.1,0.5", "nonnegative", "box:-0.2,0.7"]
# Every fifth has both algorithms, all penalties and both types.
NETWORKS = share(product([ThreeSplitting, TwoSplitting], PENALTIES, ["float32", "float64"]), 5)


@pytest.mark.parametrize(("algorithm", "penalty", "dtype"), NETWORKS)
def test_a_network_with_penalised_states_descends_and_keeps_its_constraint(
    algorithm, penalty, dtype
):
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=120)
    X = rng.standard_normal((3, 6))[labels] * 2 + rng.standard_normal((120, 6))
    problem = Problem((6, 12, 8, 3), "tanh", state_penalty=penalty)
    solver = algorithm(problem, alpha=0.01, dtype=dtype)
    state = solver.init(X, one_hot(labels, 3))
    F = [oracle_of(solver, state).objective()]
    for _ in range(30):
        F.append(oracle_of(solver, solver.step(state)).objective())
    assert np.isfinite(F).all()
    assert (np.diff(F) <= {"float32": 1e-7, "float64": 1e-12}[dtype] * np.array(F[:-1])).all()
    V = np.concatenate([v.ravel() for v in state.V[1:]])
    if penalty == "nonnegative":
        assert V.min() == 0
    elif "box" in penalty:
        T = np.dtype(dtype).type
        assert T(-0.2) <= V.min()
        assert V.max() <= T(0.7)
    elif "l1" in penalty and algorithm is ThreeSplitting:
        assert (V == 0).mean() > 0.01


def test_layers_may_differ_in_their_penalties():
    problem = Problem(
        (3, 4, 2), weight_penalty=["l1:0.1", none()], state_penalty="nonnegative/none"
    )
    assert [p.name for p in problem.weight_penalties] == ["l1", "none"]
    assert [p.name for p in problem.state_penalties] == ["nonnegative", "none"]
    solver = ThreeSplitting(problem, dtype="float64")
    rng = np.random.default_rng(0)
    state = solver.init(rng.standard_normal((50, 3)), rng.standard_normal((50, 2)))
    for _ in range(20):
        solver.step(state)
    assert (state.W[1][:, :-1] == 0).any()
    assert (state.W[2][:, :-1] != 0).all()
    assert state.V[1].min() >= 0 > state.V[2].min()


def test_a_ridge_on_states_is_the_case_of_the_general_solve():
    V, C, U_next, W, bias = arrays()
    by_descent = solve(ridge(0.4), V.copy(), C, U_next, W, bias)
    hessian = 1.8 * np.eye(6) + 0.6 * W.T @ W
    exact = np.linalg.solve(hessian, (1.4 * C + 0.6 * (U_next - bias) @ W).T).T
    np.testing.assert_allclose(by_descent, exact, rtol=1e-10, atol=1e-12)
