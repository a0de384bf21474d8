"""Accelerated iterations: the guard, restarts, and what a state of theirs must survive."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from layer_types import Scaling
from rank_threads import on_ranks
from share import share

from fastbcd import DescentWarning, Problem, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.callbacks import Certify, Objective
from fastbcd.layers import Dense
from fastbcd.solvers import acceleration
from fastbcd.solvers.budget import planned_bytes
from fastbcd.solvers.momentum import Momentum
from fastbcd.solvers.starting_point import Extrapolation
from fastbcd.training.descent_log import DescentLog

N, WIDTHS = 60, (6, 8, 8, 3)
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((N, 6)), one_hot(RNG.integers(3, size=N), 3)
BFLOAT16 = 2.0**-8  # the largest relative error of a rounding


def three(more=None, **options):
    return solver_of(ThreeSplitting, more, options)


def two(more=None, **options):
    return solver_of(TwoSplitting, more, options)


def solver_of(kind, more, options):
    settings = {"alpha": 0.1, "dtype": "float64", "tile_rows": 16, "acceleration": "nesterov"}
    return kind(Problem(WIDTHS, **options), **settings | (more or {}))


LAYERS = (Dense(6, 8), Scaling(8, 8, 1.5), Dense(8, 3))
SOLVERS = {
    "three-splitting": three,
    "residual, float32": lambda more=None: three(
        {"dtype": "float32"} | (more or {}), residual=True
    ),
    "constraints": lambda more=None: three(
        more, weight_penalty="box:-0.5,0.5", state_penalty="nonnegative/box:0,1/none"
    ),
    "cross-entropy": lambda more=None: three(more, activation="tanh", loss="cross_entropy"),
    "toy layer": lambda more=None: three(more, layers=LAYERS),
    "two-splitting": two,
    "two-splitting, float32": lambda more=None: two(
        {"dtype": "float32"} | (more or {}), state_penalty="nonnegative", reduction="sum"
    ),
    "two-splitting, toy layer": lambda more=None: two(more, layers=LAYERS),
}
OWN = ("k", "objective", "step", "restarts")


@pytest.fixture(params=share(SOLVERS, at_most=2))
def make(request):
    return SOLVERS[request.param]


def arrays(state):
    """All blocks, then all differences, without None."""
    holders = [state] if state.momentum is None else [state, state.momentum]
    blocks = [getattr(holder, name)[1:] for holder in holders for name in "WVU"]
    return [A for A in itertools.chain(*blocks) if A is not None]


def bits(state):
    numbers = None if state.momentum is None else [getattr(state.momentum, k) for k in OWN]
    return [A.tobytes() for A in arrays(state)], numbers


def stepped(solver, n, **init):
    state = solver.init(X, Y, seed=1, **init)
    for _ in range(n):
        solver.step(state)
    return state


@pytest.fixture
def too_far(monkeypatch):
    """The mistake: extrapolation goes 30 times too far."""
    advance = Momentum.advance
    monkeypatch.setattr(Momentum, "advance", lambda self: 30.0 * advance(self))


def fall_of(solver, n=25):
    """The certificate of a run, F of each iteration, and its last state."""
    result = solver.fit(X, Y, max_iter=n, seed=1, callbacks=[Objective(), Certify()])
    return result.certificate, [row["objective"] for row in result.history], result.state


# -- the guard -------------------------------------------------------------------------------------


def test_F_falls_sufficiently_in_every_iteration_and_is_known_without_a_pass(make):
    solver = make()
    certificate, F, state = fall_of(solver)
    assert certificate.descended, str(certificate)
    assert certificate.decreased_sufficiently, str(certificate)
    eps = float(np.finfo(solver.dtype).eps)
    assert certificate.tracking_error < 100 * eps
    assert state.momentum.objective == pytest.approx(F[-1], rel=100 * eps)
    assert F[-1] < fall_of(make({"acceleration": None}))[1][-1]


def test_the_log_has_the_distances_from_the_last_iterate(make):
    solver = make()
    state = stepped(solver, 4)
    state.descent_log = DescentLog()
    restarts = None
    while restarts != state.momentum.restarts:  # after a restart P^k is known up to rounding only
        before, restarts = copy.deepcopy(state), state.momentum.restarts
        solver.step(state)
    unit, squares = solver.problem.per_sample(N), {}
    for name, l in itertools.product("WVU", range(1, len(state.W))):
        old, new = getattr(before, name)[l], getattr(state, name)[l]
        if new is not None:
            squared = np.sum((new.astype(float) - old) ** 2)
            squares[name, l] = squared * (1.0 if name == "W" else unit)
    for block, squared in squares.items():
        found = state.descent_log.blocks[block][1]
        assert found == pytest.approx(squared, rel=1e-3, abs=1e-12), block
    assert state.momentum.step**2 == pytest.approx(sum(squares.values()), rel=1e-3)
    # The differences are those of the iteration, rounded.
    for name, l in squares:
        if name != "W":
            gap = getattr(state, name)[l].astype(float) - getattr(before, name)[l]
            kept = getattr(state.momentum, name)[l].astype(np.uint32) << 16
            size = abs(getattr(state, name)[l]).max()
            allowed = BFLOAT16 * abs(gap) + 4 * np.finfo(solver.dtype).eps * size
            assert (abs(kept.view(np.float32) - gap) <= allowed).all()


def test_numbers_that_are_not_finite_are_not_accepted():
    for decrease, step in ((np.nan, 1.0), (-np.inf, 1.0), (1.0, np.nan), (1.0, np.inf)):
        assert not acceleration.is_accepted(decrease, 0.1, step)
    assert acceleration.is_accepted(0.1, 0.1, 1.0)


def test_a_run_that_extrapolates_too_far_goes_back_and_F_never_rises(make, too_far):
    certificate, F, state = fall_of(make())
    assert state.momentum.restarts > 3
    assert certificate.descended, str(certificate)
    assert certificate.decreased_sufficiently, str(certificate)
    assert F[-1] < F[0]
    assert state.momentum.objective == pytest.approx(F[-1], rel=1e-6)


def test_without_its_guard_F_rises_and_the_certificate_says_so(make, too_far, monkeypatch):
    monkeypatch.setattr(acceleration, "is_accepted", lambda *numbers: True)
    with pytest.warns(DescentWarning):
        certificate, F, state = fall_of(make(), n=8)
    assert state.momentum.restarts == 0
    assert max(np.diff(F)) > 0
    assert not certificate.descended
    assert "descent FAILED" in str(certificate)


def test_a_restart_goes_back_to_the_last_iterate_up_to_rounding(make, monkeypatch):
    rejected, found = [], {}

    class Watched(Extrapolation):
        def begin(self, l):
            if self.restore and not rejected:
                rejected.append(copy.deepcopy(self.state))
            super().begin(l)

        def on(self, layer, operator):
            on_tile = super().on(layer, operator)
            if self.restore:
                rows, l = layer.tile.rows, layer.l
                found["V", l, rows.start] = rows, layer.V.copy()
                found["W", l, 0] = slice(None), self.state.W[l].copy()
                if self.state.U[l] is not None:
                    found["U", l, rows.start] = rows, layer.U.copy()
            return on_tile

    solver = make()
    last = stepped(solver, 4)
    state = copy.deepcopy(last)
    monkeypatch.setattr(acceleration, "Extrapolation", Watched)
    monkeypatch.setattr(Momentum, "advance", lambda self: 30.0)
    solver.step(state)
    assert state.momentum.restarts == last.momentum.restarts + 1
    eps = float(np.finfo(solver.dtype).eps)
    for (name, l, _), (rows, back) in found.items():
        before, far = (getattr(s, name)[l][rows].astype(float) for s in (last, rejected[0]))
        error = abs(back - before)
        if name == "W":
            assert not error.any()  # weights are kept exactly
        else:
            # Twice: the point was far away, and both ways were rounded.
            rounding = 40 * eps * max(abs(before).max(), abs(far).max(), 1.0)
            assert (error <= BFLOAT16 * abs(far - before) + rounding).all()
    F = solver.objective(last)
    assert solver.objective(state) <= F
    assert state.momentum.objective == pytest.approx(solver.objective(state), rel=1e-6)


# -- states ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))],
    ids=["deepcopy", "pickle"],
)
@pytest.mark.parametrize("name", ["residual, float32", "two-splitting"])
def test_a_copied_state_steps_on_to_the_same_bits(name, again):
    solver = SOLVERS[name]()
    state = stepped(solver, 3)
    other = again(state)
    for _ in range(2):
        solver.step(state)
        solver.step(other)
    assert bits(other) == bits(state)
    # The copy has not started anew: it counts the five iterations, or restarts of its own.
    assert other.momentum.k == 5 or other.momentum.restarts > 0


def test_momentum_of_another_problem_or_of_a_plain_iteration_is_not_used():
    solver, other = three(), three(gamma=0.5)
    state = stepped(solver, 4)
    expected = copy.deepcopy(state)
    expected.momentum = None
    for each in (state, expected):
        other.step(each)
    np.testing.assert_array_equal(state.W[1], expected.W[1])
    assert state.momentum.objective == expected.momentum.objective
    three({"acceleration": None}).step(state)
    assert state.momentum is None
    solver.step(state)
    assert state.momentum.objective == pytest.approx(solver.objective(state), rel=1e-12)


# -- the same bits everywhere ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["residual, float32", "constraints", "two-splitting"])
def test_threads_change_no_bit(name):
    one, three_threads = (stepped(SOLVERS[name]({"n_threads": k}), 5) for k in (1, 3))
    assert bits(one) == bits(three_threads)


@pytest.mark.parametrize("far", [1.0, 30.0])
@pytest.mark.parametrize("name", ["residual, float32", "two-splitting, float32"])
def test_ranks_change_no_bit_and_decide_alike(name, far, monkeypatch):
    advance = Momentum.advance
    monkeypatch.setattr(Momentum, "advance", lambda self: far * advance(self))
    alone = stepped(SOLVERS[name](), 6)
    assert alone.momentum.restarts > 0 or far == 1.0
    for size in (2, 3):

        def one(ranks):
            solver = SOLVERS[name]()
            solver.device.ranks = ranks
            rows = solver.rows(N)
            state = solver.init(X[rows], Y[rows], seed=1)
            for _ in range(6):
                solver.step(state)
            return state

        states = on_ranks(size, one)
        for state in states:
            assert not isinstance(state, Exception), state
            assert [W.tobytes() for W in state.W[1:]] == [W.tobytes() for W in alone.W[1:]]
            assert [getattr(state.momentum, k) for k in OWN] == [
                getattr(states[0].momentum, k) for k in OWN
            ]
            assert state.momentum.restarts == alone.momentum.restarts


def test_the_memory_budget_knows_what_acceleration_adds():
    for kind, n in ((three, 2), (two, 1)):
        solver = kind()
        state, rows = stepped(solver, 1), solver.device.tile_rows(WIDTHS, solver.dtype)
        arguments = solver.problem, solver.device, solver.dtype, n == 2, 0
        (work, tile), (plain_work, plain_tile) = (
            planned_bytes(*arguments, k) for k in (True, False)
        )
        differences = [A for A in (*state.momentum.V, *state.momentum.U) if A is not None]
        assert len(differences) == n * 3
        assert tile - plain_tile == rows * sum(A.nbytes // N for A in differences)
        weights = sum(W.nbytes for W in state.momentum.W[1:])
        in_work = solver.device.n_threads * rows * 2 * max(WIDTHS) * solver.dtype.itemsize
        assert work - plain_work == 4 * weights + in_work


def test_a_start_with_an_enormous_objective_is_not_lost_in_rounding():
    # F falls from 1e20 to a few hundred in the first iteration, where F less the decreases is 0.
    problem = Problem(WIDTHS, activation="polynomial:0,1,0.1", loss="exponential")
    solver = ThreeSplitting(problem, alpha=1e-3, acceleration="nesterov", n_threads=1)
    plain = ThreeSplitting(problem, alpha=1e-3, n_threads=1)
    state = solver.init(60 * X, Y)
    start = plain.objective(state)
    assert start > 1e15
    for _ in range(5):
        before = plain.objective(state)
        solver.step(state)
        after = plain.objective(state)
        assert after < before
        np.testing.assert_allclose(state.momentum.objective, after, rtol=1e-5)
