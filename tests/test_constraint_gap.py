"""The constraint violation agrees with plain NumPy, and comes with the objective in one pass."""

import numpy as np
import pytest
from oracle import act, oracle_of, with_ones

from fastbcd import MiniBatchThreeSplitting, Problem, ThreeSplitting, TwoSplitting
from fastbcd.callbacks import Objective


def gap_of(oracle, unit):
    """Also for Algorithm 1: its oracle has U_l = V^_{l-1} W_l^T, so that term is 0."""
    squares = 0.0
    for l in range(1, oracle.L + 1):
        states = oracle.below(l) + act(oracle.U[l], oracle.slope_of(l))
        squares += np.sum((oracle.V[l] - states) ** 2)
        squares += np.sum((oracle.U[l] - with_ones(oracle.V[l - 1]) @ oracle.W[l].T) ** 2)
    return np.sqrt(unit * squares)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["leaky_relu:0.2", "tanh"])
@pytest.mark.parametrize("algorithm", ["three-splitting", "resnet", "two-splitting"])
def test_gap_and_objective_agree_with_the_oracle(algorithm, activation, dtype, reduction):
    rng = np.random.default_rng(1)
    X, Y = rng.standard_normal((50, 6)), rng.standard_normal((50, 3))
    options = {"gamma": 1.7, "reduction": reduction, "weight_penalty": "ridge:0.1"}
    if algorithm != "two-splitting":
        options |= {"rho": 0.6, "residual": algorithm == "resnet"}
    problem = Problem((6, 8, 8, 3), activation, **options)
    solver_class = TwoSplitting if algorithm == "two-splitting" else ThreeSplitting
    solver = solver_class(problem, alpha=0.2, dtype=dtype, tile_rows=16, n_threads=2)
    state = solver.init(X, Y, seed=2)
    relative = {"float32": 1e-5, "float64": 1e-12}[dtype]
    unit = problem.per_sample(len(X))
    for _ in range(3):
        solver.step(state)
        oracle = oracle_of(solver, state)
        F, gap = solver.objective_and_violation(state)
        assert gap == pytest.approx(gap_of(oracle, unit), rel=relative)
        assert pytest.approx(oracle.objective(), rel=relative) == F
        assert solver.objective(state) == F
        assert gap > 0.01


@pytest.mark.parametrize("algorithm", [ThreeSplitting, TwoSplitting])
def test_states_of_a_forward_pass_have_no_gap(algorithm):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
    solver = algorithm(Problem((4, 7, 2), "tanh"), dtype="float64")
    state = solver.init(X, Y)
    assert solver.objective_and_violation(state)[1] < 1e-12
    state.V[1][3, 2] += 0.25  # one sample's state: V_2 misses its own constraint, too
    weights = state.W[2][:, 2]
    moved = 0.25**2 * (1 + np.sum(weights**2))
    assert solver.objective_and_violation(state)[1] == pytest.approx(np.sqrt(moved / 30))


def test_the_objective_callback_adds_the_gap_where_states_last():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 4)), rng.standard_normal((60, 2))
    problem = Problem((4, 7, 2))
    solver = ThreeSplitting(problem)
    result = solver.fit(X, Y, max_iter=4, callbacks=[Objective(every=2)])
    assert ["constraint_gap" in record for record in result.history] == [False, True, False, True]
    last = result.history[-1]
    assert (last["objective"], last["constraint_gap"]) == solver.objective_and_violation(
        result.state
    )
    batches = MiniBatchThreeSplitting(problem, 20).fit(X, Y, max_iter=2, callbacks=[Objective()])
    assert all("constraint_gap" not in record for record in batches.history)
    assert all(record["objective"] > 0 for record in batches.history)
