"""Subgradients of the objective by their definition: smooth points, kinks, ends of runs."""

import numpy as np
import pytest
from oracle import oracle_of
from test_certificate import data

from fastbcd import InputError, Problem, ThreeSplitting, TwoSplitting
from fastbcd.kernels import hinge


def numerical_gradient(oracle, block, h=1e-6):
    """Central differences of the oracle's objective in each element of one of its arrays."""
    gradient = np.empty_like(block)
    for index in np.ndindex(block.shape):
        old = block[index]
        values = []
        for sign in (1, -1):
            block[index] = old + sign * h
            values.append(oracle.objective())
        block[index] = old
        gradient[index] = (values[0] - values[1]) / (2 * h)
    return gradient


@pytest.mark.parametrize("algorithm", [ThreeSplitting, TwoSplitting])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus", "polynomial:0,1,0.2"])
def test_where_f_is_smooth_the_subgradient_is_the_gradient(algorithm, activation, reduction):
    X, Y = data(n=6)
    residual = (False, algorithm is ThreeSplitting, False)
    problem = Problem(
        (4, 5, 5, 3), activation, weight_penalty="ridge:0.1", state_penalty="ridge:0.2",
        gamma=1.3, residual=residual, reduction=reduction,
    )  # fmt: skip
    solver = algorithm(problem, dtype="float64", tile_rows=4)
    state = solver.init(X, Y, bias=0.1)
    rng = np.random.default_rng(1)
    for block in (*state.W[1:], *state.V[1:], *(U for U in state.U if U is not None)):
        block += 0.3 * rng.standard_normal(block.shape)  # away from kinks and equalities
    oracle = oracle_of(solver, state)
    unit = problem.per_sample(len(X))
    squared_norm = 0.0
    if algorithm is TwoSplitting:  # its U is no variable: differences go through the product
        solver64 = solver
        blocks = [(state.W, 1.0), (state.V, 1 / unit)]
        objective = lambda: solver64.objective(state)  # noqa: E731
    else:
        blocks = [(oracle.W, 1.0), (oracle.V, 1 / unit), (oracle.U, 1 / unit)]
        objective = oracle.objective
    holder = type("F", (), {"objective": staticmethod(objective)})
    for arrays, weight in blocks:
        for block in arrays[1:]:
            squared_norm += weight * np.sum(numerical_gradient(holder, block) ** 2)
    assert solver.squared_subgradient(state) == pytest.approx(squared_norm, rel=1e-6)


def test_at_a_kink_the_smallest_slope_counts():
    # One sample, one unit, u = 0. With v = -1 the slopes in u are 0 on the left and
    # 0 - v = 1 on the right; with the pull u - b = -0.4 added 0 lies in between.
    problem = Problem((1, 1, 1), "relu")
    solver = ThreeSplitting(problem, dtype="float64")
    state = solver.init([[1.0]], [[0.0]], seed=0)
    state.W[1][:] = 0.4, 0.0
    state.W[2][:] = 0.0
    state.U[1][:], state.V[1][:] = 0.0, -1.0
    state.U[2][:], state.V[2][:] = 0.0, 0.0
    # g_V1 = v - act(u) = -1; g_W1 = -(u - b) x = 0.4 twice (weight, bias); all others are 0.
    assert solver.squared_subgradient(state) == pytest.approx(1 + 0.4**2 + 0.4**2, rel=1e-12)
    # With v = 1 the kink points upwards, and the slopes are 0 - 0.4 and -1 - 0.4.
    state.V[1][:] = 1.0
    assert solver.squared_subgradient(state) == pytest.approx(1 + 3 * 0.4**2, rel=1e-12)


@pytest.mark.parametrize(
    ("weight_penalty", "state_penalty"),
    [
        ("l1:0.05", "nonnegative"),
        ("box:-0.1,0.1", "l1:0.05"),
        ("elastic_net:0.1,0.5", "box:-0.1,0.1"),
    ],
)
@pytest.mark.parametrize(
    "loss",
    ["hinge", *(pytest.param(x, marks=pytest.mark.soak) for x in ("exponential", "cross_entropy"))],
)
def test_the_subgradient_vanishes_where_a_convex_problem_ends(loss, weight_penalty, state_penalty):
    # Without hidden layers F is convex: BCD ends in its minimum.
    X, Y = data(n=30)
    problem = Problem((4, 3), loss=loss, weight_penalty=weight_penalty, state_penalty=state_penalty)
    for algorithm in (ThreeSplitting, TwoSplitting):
        solver = algorithm(problem, alpha=1e-3, dtype="float64")
        state = solver.init(X, Y)
        first = solver.squared_subgradient(solver.step(state))
        for _ in range(1500):
            solver.step(state)
        assert solver.squared_subgradient(state) <= 1e-5 * first


def test_an_output_an_ulp_beside_the_hinges_kink_counts_as_at_the_kink():
    low, high = np.empty(2), np.empty(2)
    for ulps in (-1, 0, 1):
        margin = 1.0 + ulps * np.finfo(float).eps
        hinge().row_subdifferential(low, high, np.array([margin, -margin]), np.array([1.0, 0.0]))
        np.testing.assert_array_equal([low, high], [[-1, 0], [0, 1]])
    for margin, slope in ((1 - 1e-9, -1.0), (1 + 1e-9, 0.0)):
        hinge().row_subdifferential(low, high, np.array([margin, -margin]), np.array([1.0, 0.0]))
        np.testing.assert_array_equal([low, high], [[slope, -slope]] * 2)


def test_a_first_forward_pass_that_overflows_is_refused():
    with pytest.raises(InputError, match="states overflow float32 in the first forward pass"):
        ThreeSplitting(Problem((4, 5, 3), "polynomial:1e39,1")).init(*data())
