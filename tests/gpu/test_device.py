"""Whole iterations on the CUDA device, with kernels in the simulator, agree with the CPU device."""

from __future__ import annotations

from typing import Any

import needs_simulator  # noqa: F401 - skips this module without it
import numpy as np
import pytest
from host_library import WAITS, on_simulator
from share import share

from fastbcd import InputError, Problem, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.training.descent_log import DescentLog

N = 11
RNG = np.random.default_rng(5)
X = RNG.standard_normal((N, 4))
Y = one_hot(RNG.integers(0, 3, N))


def arrays(state: Any) -> list[Any]:
    return [np.asarray(A) for A in (*state.W, *state.V, *state.U) if A is not None]


def compare(make: Any, iterations: int = 2, tolerance: float = 2e-4, **init: Any) -> Any:
    """Compare states, objective, decreases and subgradient of both; return the GPU's solver."""
    ours, theirs = make(), on_simulator(make())
    states = []
    for solver in (ours, theirs):
        state = solver.init(X, Y, seed=1, **init)
        state.descent_log = DescentLog()
        for _ in range(iterations):
            solver.step(state)
        states.append(state)
    for a, b in zip(*map(arrays, states), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance * float(abs(a).max()))
    numbers = [
        (
            *s.objective_and_violation(t),
            t.descent_log.squared_step,
            s.squared_subgradient(t),
            s.magnitude_bound(t),
        )
        for s, t in zip((ours, theirs), states, strict=True)
    ]
    np.testing.assert_allclose(numbers[1], numbers[0], rtol=50 * tolerance)
    scale = max(abs(ours.objective(states[0])), 1e-3)
    assert (
        abs(states[1].descent_log.decrease - states[0].descent_log.decrease)
        <= 50 * tolerance * scale
    )
    assert set(states[1].descent_log.blocks) == set(states[0].descent_log.blocks)
    return theirs


THREE = {
    "relu": {},
    "residual": {"widths": (4, 5, 5, 3), "residual": True},
    "other losses": {"loss": "cross_entropy", "activation": "tanh"},
    # Coordinate descent waits for its threads twice per coordinate; a large case takes minutes.
    "penalties": {
        "widths": (4, 3, 3),
        "weight_penalty": "l1:1e-2",
        "state_penalty": "nonnegative",
    },
    "ridges": {"weight_penalty": "ridge:1e-2", "state_penalty": "ridge:1e-2"},
    "rho": {"gamma": 0.5, "rho": 2.0, "reduction": "sum"},
}
ACCELERATED = {
    "three-splitting": (ThreeSplitting, {"residual": True, "widths": (4, 5, 5, 3)}),
    "penalties": (ThreeSplitting, {"state_penalty": "nonnegative", "weight_penalty": "ridge:0.1"}),
    "two-splitting": (TwoSplitting, {"activation": "tanh"}),
}


@pytest.mark.parametrize("name", share(THREE, at_most=3))
def test_three_splitting_takes_the_cpus_steps(name: str) -> None:
    options = {"widths": (4, 6, 5, 3), **THREE[name]}
    iterations = 1 if name == "penalties" else 2
    compare(lambda: ThreeSplitting(Problem(**options), alpha=0.1, tile_rows=6), iterations)


def test_float64_agrees_to_many_digits() -> None:
    problem = Problem((4, 6, 3), activation="softplus")
    compare(lambda: ThreeSplitting(problem, alpha=0.1, dtype="float64"), tolerance=1e-8)


@pytest.mark.parametrize("update", share(["prox-linear", "prox"], at_most=2))
def test_loss_updates_agree(update: str) -> None:
    problem = Problem((4, 5, 3), loss="logistic_ovr")
    compare(lambda: ThreeSplitting(problem, alpha=1.0, loss_update=update), iterations=1)


TWO = {
    "relu": {},
    "tanh": {"widths": (4, 3, 3), "activation": "tanh", "weight_penalty": "l1:1e-2"},
    "linear": {"activation": "linear"},
}


@pytest.mark.parametrize("name", share(TWO, at_most=2))
def test_two_splitting_takes_the_cpus_steps(name: str) -> None:
    options = {"widths": (4, 6, 3), **TWO[name]}
    compare(
        lambda: TwoSplitting(Problem(**options), alpha=0.1, inner_steps=2, tile_rows=6),
        iterations=1,
        tolerance=1e-3,
    )


@pytest.mark.parametrize("name", share(ACCELERATED, at_most=2))
def test_accelerated_iterations_take_the_cpus_steps(name: str) -> None:
    kind, options = ACCELERATED[name]
    problem = Problem(**{"widths": (4, 4, 3)} | options)
    solvers = [kind(problem, alpha=0.1, tile_rows=6, acceleration="nesterov") for _ in range(2)]
    on_simulator(solvers[1])
    states = []
    for solver in solvers:
        state = solver.init(X, Y, seed=1)
        state.descent_log = DescentLog()
        for _ in range(2):  # the second one extrapolates
            solver.step(state)
        assert state.descent_log.squared_extrapolation > 0.0
        assert state.momentum.objective == pytest.approx(solver.objective(state), rel=1e-5)
        states.append(state)
    for a, b in zip(*map(arrays, states), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-3 * float(abs(a).max()))
    ours, theirs = (state.momentum for state in states)
    assert theirs.objective == pytest.approx(ours.objective, rel=1e-4)
    assert theirs.step == pytest.approx(ours.step, rel=1e-2)
    # A sweep that the guard rejects goes back to where it came from, here, too.
    for solver, state in zip(solvers, states, strict=True):
        state.momentum.advance = lambda: 40.0
        solver.step(state)
    assert ours.restarts == theirs.restarts == 1
    for a, b in zip(*map(arrays, states), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-2 * float(abs(a).max()))


def test_without_a_descent_log_the_steps_are_the_same() -> None:
    solver = on_simulator(ThreeSplitting(Problem((4, 5, 3)), alpha=0.1))
    states = [solver.init(X, Y, seed=1) for _ in range(2)]
    states[1].descent_log = DescentLog()
    for state in states:
        solver.step(state)
    for a, b in zip(*map(arrays, states), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_number_that_is_not_finite_ends_the_step() -> None:
    solver = on_simulator(ThreeSplitting(Problem((4, 5, 3)), alpha=0.1))
    state = solver.init(X, Y, seed=1)
    state.V[1][0, 0] = np.inf
    with pytest.raises(FloatingPointError, match="not finite any more"):
        solver.step(state)
    solver.step(solver.init(X, Y, seed=1))  # the flag was reset


def test_what_does_not_fit_is_refused_with_both_numbers() -> None:
    solver = on_simulator(ThreeSplitting(Problem((4, 5, 3)), alpha=0.1))
    solver.device.library.free = 500
    needed = N * 4 * 2 * (5 + 3)  # V and U
    with pytest.raises(InputError, match=f"500 bytes free, and {needed:,} more"):
        solver.init(X, Y)


@pytest.mark.parametrize("solver", [ThreeSplitting, TwoSplitting])
@pytest.mark.parametrize("acceleration", [None, "nesterov"])
def test_a_step_waits_for_the_gpu_once_at_its_end(solver: Any, acceleration: str | None) -> None:
    trained = on_simulator(solver(Problem((4, 5, 3)), alpha=0.1, acceleration=acceleration))
    state = trained.init(X, Y, seed=1)
    state.descent_log = DescentLog()
    WAITS.clear()
    trained.step(state)
    # The guard reads F, after its sweep; then comes the flag for numbers that are not finite.
    expected = ["host"] if acceleration is None else ["host", "host"]
    assert expected == WAITS


def test_results_are_numpy() -> None:
    solver = on_simulator(ThreeSplitting(Problem((4, 5, 3)), alpha=0.1))
    result = solver.fit(X, Y, max_iter=1)
    assert all(type(W) is np.ndarray for W in result.network.W)
