"""Mini-batches on bad input, extreme values and overflow."""

import numpy as np
import pytest
from batches import memory_mapped, random_data

from fastbcd import (
    InputError,
    MiniBatchThreeSplitting,
    Problem,
)
from fastbcd.callbacks import Certify


def test_momentum_fades_where_nothing_is_left_to_learn():
    problem = Problem((2, 2), loss="hinge")
    solver = MiniBatchThreeSplitting(problem, 2, 0.3, "constant", average=0)
    state = solver.init(np.eye(2), np.eye(2))
    state.W[1][:] = [[9, -9, 0], [-9, 9, 0]]  # margins of 9, where 1 is enough
    state.S[1][:] = 0.1
    for _ in range(50):
        solver.step(state)
    assert solver.objective(state) == 0
    np.testing.assert_allclose(state.S[1], 0.1 * 0.9**50, rtol=1e-4)


def test_a_step_that_is_too_large_is_said_and_leaves_the_state_finite():
    X, Y = random_data()
    solver = MiniBatchThreeSplitting(Problem((12, *[20] * 12, 4)), 30, 1e8, average=0)
    state = solver.init(X, Y)
    with pytest.raises(FloatingPointError, match="use a smaller step_size"):
        solver.step(state)
    assert all(np.isfinite(W).all() for W in state.weights)


def test_bad_input_is_an_error_that_names_the_cure(tmp_path):
    X, Y = random_data()
    problem = Problem((12, 20, 4))
    solver = MiniBatchThreeSplitting(problem, batch_size=500)
    cases = [
        (lambda: MiniBatchThreeSplitting(problem, batch_size=0), "batch_size"),
        (lambda: MiniBatchThreeSplitting(problem, momentum=1.0), "momentum"),
        (lambda: MiniBatchThreeSplitting(problem, schedule="step"), "schedule must be one of"),
        (lambda: MiniBatchThreeSplitting(problem, rank=-1), "rank"),
        (lambda: MiniBatchThreeSplitting(problem, tile_rows=0), "tile_rows must be an integer"),
        (lambda: MiniBatchThreeSplitting(Problem((12, 4), rho=2.0)), "rho belongs to the solver"),
        (
            lambda: MiniBatchThreeSplitting(Problem((12, 4), state_penalty="l1:1")),
            "use ThreeSplitting, or penalise weights",
        ),
        (lambda: solver.init(X[:, :5], Y), "X has 5 features"),
        (lambda: solver.init(X, Y[:7]), "Y has 7 samples"),
        (lambda: solver.fit(X, Y, callbacks=[Certify()]), "does not promise descent"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()
    state = solver.step(solver.init(X, Y, passes=1))
    with pytest.raises(InputError, match="its schedule ended after 1 batches"):
        solver.step(state)
    X, Y = np.tile(X, (10, 1)), np.tile(Y, (10, 1))
    row = np.random.default_rng(0).permutation(3000)[-1]  # not among the 500 that init reads
    X[row, 3] = np.nan
    mapped = memory_mapped(tmp_path, X=X, Y=Y)
    small = MiniBatchThreeSplitting(problem, batch_size=20)
    state = small.init(*mapped, passes=1)
    with pytest.raises(InputError, match=f"X must be finite, but row {row}, column 3 is nan"):
        small.step(state)


def test_gram_sums_that_overflow_are_said():
    X, Y = random_data()
    solver = MiniBatchThreeSplitting(Problem((12, 20, 4)))
    with pytest.raises(FloatingPointError, match="scale the inputs"):
        solver.fit(1e20 * X, Y)


@pytest.mark.parametrize("loss", ["squared", "cross_entropy", "hinge"])
@pytest.mark.parametrize("extreme", [1e7, 1e4])
def test_a_batch_of_extreme_values_does_not_stop_learning(loss, extreme):
    X, Y = random_data(d=12)
    problem = Problem((12, 32, 4), loss=loss)
    solver = MiniBatchThreeSplitting(problem, 50, schedule="constant", average=0, step_size=0.02)
    for first in range(3):
        state = solver.init(X, Y)
        for t in range(first + 1):
            scale = extreme if t == first else 1.0
            solver.partial_fit(state, scale * X[:50], Y[:50])
        start = solver.objective(state)
        for _ in range(40):
            solver.step(state)
        assert solver.objective(state) < 0.9 * start


@pytest.mark.parametrize("bad", [1e20, 1e30])
def test_learning_goes_on_after_a_batch_that_overflowed(bad):
    X, Y = random_data()
    solver = MiniBatchThreeSplitting(Problem((12, 20, 4)), 50, schedule="constant")
    for before in (0, 1, 4):  # batches that renew the metric
        state = solver.init(X, Y)
        for _ in range(before):
            solver.partial_fit(state, X[:50], Y[:50])
        weights = [W.copy() for W in state.W[1:]]
        with pytest.raises(FloatingPointError, match="scale the inputs"):
            solver.partial_fit(state, bad * X[:50], Y[:50])
        for old, W in zip(weights, state.W[1:], strict=True):
            np.testing.assert_array_equal(old, W)
        start = solver.objective(state)
        for _ in range(20):
            solver.step(state)
        assert solver.objective(state) < start


def test_displacements_have_about_their_size_in_every_batch():
    X, Y = random_data(n=400)
    for loss in ("squared", "cross_entropy"):
        problem = Problem((12, *[16] * 10, 4), loss=loss)
        solver = MiniBatchThreeSplitting(problem, 40, dtype="float64", schedule="constant")
        state = solver.init(X, Y)
        rng = np.random.default_rng(0)
        for t in range(60):
            m = int(rng.integers(5, 80))
            rows = rng.integers(400, size=m)
            unit = 10.0 ** rng.integers(-2, 3) if t % 7 == 3 else 1.0
            solver.partial_fit(state, unit * X[rows], Y[rows])
            batch = state.cache.batches[m]
            for D, U in zip(batch.D[1:-1], batch.U[1:-1], strict=True):
                size = np.linalg.norm(D) / np.linalg.norm(U)
                assert 1e-3 / 40 < size < 1e-3 * 40, (loss, t, size)


def test_targets_in_a_file_are_checked_a_batch_at_a_time(tmp_path):
    X, Y = random_data(n=3000)
    Y[np.random.default_rng(0).permutation(3000)[-1]] = [0, 3, 0, 0]  # init reads 500 others
    solver = MiniBatchThreeSplitting(Problem((12, 20, 4), loss="hinge"), batch_size=20)
    state = solver.init(*memory_mapped(tmp_path, X=X, Y=Y))
    with pytest.raises(InputError, match="hinge needs targets that are 0 or 1"):
        solver.step(state)
