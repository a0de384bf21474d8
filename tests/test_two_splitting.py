"""Algorithm 1: models of the nonlinear blocks, the search, and the whole iteration."""

from dataclasses import dataclass

import numpy as np
import pytest
from layer_types import Scaling
from oracle import act, oracle_of, with_ones

from fastbcd import InputError, Problem, ThreeSplitting, TwoSplitting, kernels, one_hot
from fastbcd.kernels import leaky_relu, linear, polynomial, relu, sigmoid, softplus, tanh
from fastbcd.layers import Dense
from fastbcd.solvers.starting_point import Iterate
from fastbcd.training.loop import network_of

ACTIVATIONS = [relu(), leaky_relu(0.2), linear(), sigmoid(), tanh(), softplus()]
ACTIVATIONS += [polynomial(0.3, -2.0), polynomial(0.1, 1.0, 0.5)]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_the_derivative_is_that_of_the_value(activation):
    u = np.linspace(-6, 6, 100)  # not 0, where there may be a kink
    h = 1e-6
    for x in u:
        slope = (activation.value(x + h) - activation.value(x - h)) / (2 * h)
        assert activation.derivative(x) == pytest.approx(slope, rel=1e-7, abs=1e-9)
        # `slope` of float32 stays in float32 in kernels: same number, less digits.
        assert activation.derivative(np.float32(x)) == pytest.approx(slope, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_the_curvature_bounds_every_parabola(activation):
    # By definition: h(z) <= h(z0) + h'(z0) (z - z0) + c/2 (z - z0)^2 for all z, z0.
    z = np.concatenate([np.linspace(-12, 12, 601), 10.0 ** np.linspace(-9, 0, 60)])
    a = np.array([activation.value(x) for x in z])
    slope = np.array([activation.derivative(x) for x in z])
    n_bounded = 0
    for v in [-20.0, -1.5, -0.3, 0.0, 0.2, 0.5, 0.8, 1.0, 3.0, 40.0]:
        c = activation.curvature(v)
        if not np.isfinite(c):
            continue
        n_bounded += 1
        h, dh = 0.5 * (v - a) ** 2, (a - v) * slope
        parabola = h[:, None] + dh[:, None] * (z - z[:, None]) + c / 2 * (z - z[:, None]) ** 2
        assert (parabola - h >= -1e-9 * (1 + h + np.abs(parabola))).all(), v
    unbounded = "polynomial" in repr(activation) and len(activation.arguments) > 2
    assert (n_bounded == 0) == unbounded


@pytest.mark.parametrize("bound", [(sigmoid(), 0.5), (tanh(), 0.0), (softplus(), 0.0)], ids=repr)
def test_the_curvature_is_not_much_larger_than_it_must_be(bound):
    # A bound twice as large would halve every step.
    activation, v = bound
    z = np.linspace(-30, 30, 20_001)
    h = np.array([0.5 * (v - activation.value(x)) ** 2 for x in z])
    attained = np.max(np.diff(h, 2)) / (z[1] - z[0]) ** 2
    assert attained <= activation.curvature(v) <= 1.1 * attained


def problem_of(activation, **options):
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=150)
    X = rng.standard_normal((3, 5))[labels] + 0.5 * rng.standard_normal((150, 5))
    return Problem((5, 9, 7, 3), activation, **options), X, one_hot(labels, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("inner_steps", [1, 3])
@pytest.mark.parametrize("activation", ["relu", "tanh", "polynomial:0,1,0.2"])
def test_every_single_block_descends(activation, inner_steps, dtype):
    problem, X, Y = problem_of(activation, weight_penalty="l1:1e-3", state_penalty="l1:1e-3")
    solver = TwoSplitting(problem, alpha=0.01, inner_steps=inner_steps, dtype=dtype, tile_rows=32)
    state = solver.init(X, Y)
    F = oracle_of(solver, state).objective()
    for _ in range(5):
        for l in range(problem.n_layers, 0, -1):
            solver._update_layer(state, l, Iterate(), None)
            new = oracle_of(solver, state).objective()
            assert new <= F * (1 + {"float32": 1e-7, "float64": 1e-13}[dtype])
            F = new


def test_a_linear_networks_blocks_are_minimised_exactly():
    # Where every model is exact Algorithm 1 has closed forms: linear systems by hand.
    problem, X, Y = problem_of("linear", weight_penalty="ridge:0.1", gamma=1.3)
    solver = TwoSplitting(problem, alpha=0.2, alpha_weights=0.05, dtype="float64", n_threads=1)
    state = solver.init(X, Y, bias=0.1)
    W, V = [None, *(w.copy() for w in state.W[1:])], [v.copy() for v in state.V]
    n, gamma, alpha = len(X), 1.3, 0.2
    for l in (3, 2, 1, 3, 2, 1):
        if l == 3:  # the second iteration starts where V_l is not V^_{l-1} W_l^T any more
            solver.step(state)
        below = with_ones(V[l - 1]) @ W[l].T
        if l == 3:
            V[3] = (Y + gamma * below + alpha * V[3]) / (1 + gamma + alpha)
        else:
            A, b = W[l + 1][:, :-1], W[l + 1][:, -1]
            hessian = (gamma + alpha) * np.eye(A.shape[1]) + gamma * A.T @ A
            right = gamma * below + alpha * V[l] + gamma * (V[l + 1] - b) @ A
            V[l] = np.linalg.solve(hessian, right.T).T
        hat = with_ones(V[l - 1])
        ridge = 0.1 * np.diag([1.0] * (hat.shape[1] - 1) + [0.0])
        hessian = gamma / n * hat.T @ hat + 0.05 * np.eye(hat.shape[1]) + ridge
        W[l] = np.linalg.solve(hessian, (gamma / n * V[l].T @ hat + 0.05 * W[l]).T).T
        np.testing.assert_allclose(state.V[l], V[l], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(state.W[l], W[l], rtol=1e-8, atol=1e-10)


def test_the_search_keeps_what_no_step_improves_and_moves_what_one_does():
    # h(z) = 1/2 (v - relu(z))^2 with z0 = -1 and v = 0 is at its minimum; with v = 3 and z0 = 1
    # a step of 2 ends at the minimum, a step of -2 leads away from it.
    steps = np.array([0.0, 2.0, 1.0, 0.5])
    V, Z = np.array([[0.0, 3.0, 3.0]]), np.array([[-1.0, 1.0, 1.0]])
    P = np.array([[-1.0, 2.0, -2.0]])
    sums = np.zeros((4, 3))
    kernels.add_row_sums(sums, relu(), V, Z, P, steps)
    W, end = np.zeros((3, 2)), np.ones((3, 2))
    report = np.zeros(2)
    kernels.search_rows(W, end, sums, steps, kernels.none(), 1.0, 1e-6, report)
    np.testing.assert_array_equal(W, [[0, 0], [1, 1], [0, 0]])
    assert report == pytest.approx([0.5 * (3 - 1) ** 2, 2.0])


@pytest.mark.parametrize("alpha", [1e-9, 0.3, 30.0])
def test_every_row_takes_the_step_that_is_best_with_its_proximal_term(alpha):
    rng = np.random.default_rng(0)
    d, steps = 40, np.array([0.0, 4.0, 2.0, 1.0, 0.5, 0.25])
    W, end = rng.standard_normal((d, 4)), rng.standard_normal((d, 4))
    # Parabolas in the step, with minima on both sides of 0 and between the steps.
    sums = (steps[:, None] - rng.uniform(-1, 5, d)) ** 2 * rng.uniform(0.1, 9, d) + 1.0
    penalty, old, report = kernels.l1(0.2), W.copy(), np.zeros(2)
    kernels.search_rows(W, end, sums, steps, penalty, 0.7, alpha, report)
    fallen, chosen = 0.0, []
    for i in range(d):
        tried = [old[i] + t * (end[i] - old[i]) for t in steps]
        values = [0.35 * sums[k, i] + 0.2 * np.abs(w[:-1]).sum() for k, w in enumerate(tried)]
        moved = [np.sum((w - old[i]) ** 2) for w in tried]
        best = np.argmin(np.array(values) + alpha / 2 * np.array(moved))
        np.testing.assert_allclose(W[i], tried[best], rtol=1e-13)
        fallen += values[0] - values[best]
        chosen.append(best)
    assert report == pytest.approx([fallen, np.sum((W - old) ** 2)], rel=1e-12)
    assert 0 in chosen
    assert alpha > 1 or len(set(chosen)) > 3


def test_inner_steps_share_the_promise_among_them():
    problem = problem_of("tanh")[0]
    one, four = (TwoSplitting(problem, alpha=0.2, inner_steps=k) for k in (1, 4))
    assert one.promised_decrease() == pytest.approx(0.1)
    assert four.promised_decrease() == pytest.approx(0.1 / 4)
    assert TwoSplitting(Problem((4, 2)), alpha=0.2).promised_decrease() == pytest.approx(0.2)


def test_a_state_outside_its_domain_finds_the_way_in():
    problem, X, Y = problem_of("tanh", state_penalty="nonnegative")
    solver = TwoSplitting(problem)
    state = solver.init(X, Y)
    state.V[1] -= 0.5
    assert np.isinf(solver.objective(state))
    assert np.isfinite(solver.objective(solver.step(state)))


def test_a_state_of_the_other_splitting_is_refused():
    problem, X, Y = problem_of("tanh")
    two, three = TwoSplitting(problem), ThreeSplitting(problem)
    for solver, other in ((two, three), (three, two)):
        with pytest.raises(InputError, match="state: it was made for the other splitting"):
            solver.step(other.init(X, Y))


def test_a_step_beyond_the_models_minimiser_is_taken_where_it_serves():
    # A model four times as curved as the function: the step of length 4 is the right one.
    V, end, center = np.zeros((1, 1)), np.array([[0.25]]), np.array([[1.0]])
    Z, V_next = np.zeros((1, 1)), np.zeros((1, 1))
    kernels.search_states(
        V, end, center, Z, np.zeros((1, 1)), relu(), V_next, kernels.none(), 1.0, 1.0
    )
    assert V[0, 0] == 1.0


def test_the_objective_is_that_of_the_oracle():
    problem, X, Y = problem_of("tanh", weight_penalty="ridge:0.1/l1:0.2/none")
    solver = TwoSplitting(problem, dtype="float64")
    state = solver.step(solver.init(X, Y))
    F = 0.5 * np.mean(np.sum((state.V[3] - Y) ** 2, axis=1))
    for l in (1, 2, 3):
        Z = with_ones(state.V[l - 1]) @ state.W[l].T
        F += 0.5 / len(X) * np.sum((state.V[l] - act(Z, "tanh" if l < 3 else 1.0)) ** 2)
    F += 0.05 * np.sum(state.W[1][:, :-1] ** 2) + 0.2 * np.sum(np.abs(state.W[2][:, :-1]))
    assert solver.objective(state) == pytest.approx(F, rel=1e-12)
    assert oracle_of(solver, state).objective() == pytest.approx(F, rel=1e-12)


def test_both_splittings_learn_the_same_task():
    problem, X, Y = problem_of("relu", weight_penalty="ridge:1e-3")
    for solver in (TwoSplitting(problem), ThreeSplitting(problem)):
        network = solver.fit(X, Y, max_iter=60).network
        assert np.mean(network.forward(X).argmax(axis=1) == Y.argmax(axis=1)) >= 0.95


def test_results_do_not_depend_on_the_number_of_threads():
    problem, X, Y = problem_of("tanh", weight_penalty="l1:1e-3")
    states = []
    for n_threads in (1, 2, 3):
        solver = TwoSplitting(problem, n_threads=n_threads, tile_rows=16)
        state = solver.init(X, Y)
        for _ in range(3):
            solver.step(state)
        states.append(state)
    for other in states[1:]:
        for l in (1, 2, 3):
            assert states[0].W[l].tobytes() == other.W[l].tobytes()
            assert states[0].V[l].tobytes() == other.V[l].tobytes()


def test_the_network_predicts_from_weights_alone():
    problem, X, Y = problem_of("sigmoid")
    solver = TwoSplitting(problem, dtype="float64")
    state = solver.init(X, Y)
    np.testing.assert_allclose(network_of(solver, state).forward(X), state.V[-1], rtol=1e-12)
    assert state.U == [None] * 4


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"residual": (False, True, False)}, {}, "layer 2 is residual, but Algorithm 1 is for"),
        ({"rho": 2.0}, {}, "rho: the two-splitting objective has one coupling"),
        ({}, {"inner_steps": 0}, "inner_steps must be an integer of at least 1, got 0"),
    ],
)
def test_what_algorithm_1_has_no_place_for_is_refused(options, arguments, message):
    with pytest.raises(InputError, match=message):
        TwoSplitting(Problem((4, 5, 5, 2), **options), **arguments)


@dataclass(frozen=True)
class Bent(Scaling):
    """It says that it is not linear, and has an activation."""

    is_linear = False


def test_a_layer_that_is_not_linear_has_no_activation_in_algorithm_1():
    layers = (Dense(4, 3), Bent(3, 3, 2.0), Dense(3, 2))
    with pytest.raises(InputError, match="layers: number 2, Bent, is not linear and has an"):
        TwoSplitting(Problem((4, 3, 3, 2), layers=layers))
