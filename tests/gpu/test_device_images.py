"""Convolutions and pooling on the CUDA device, in the simulator, agree with the CPU device."""

from __future__ import annotations

from typing import Any

import needs_simulator  # noqa: F401 - skips this module without it
import numpy as np
import pytest
from host_library import REPLAYS, WAITS, on_simulator
from share import share

from fastbcd import MiniBatchThreeSplitting, Problem, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.devices.cuda import convolution, device
from fastbcd.layers import AveragePool2d, Conv2d, Dense, MaxPool2d
from fastbcd.training.descent_log import DescentLog

N = 4
RNG = np.random.default_rng(5)
X = RNG.standard_normal((N, 36))
Y = one_hot(RNG.integers(0, 3, N), 3)


def network(**options: Any) -> Problem:
    """Two convolutions, the second with a stride, between the two kinds of pooling."""
    first = Conv2d((6, 6, 1), 2, 3, padding=1)
    pool = MaxPool2d(first.image_out, 2)
    second = Conv2d(pool.image_out, 3, 3, stride=2, padding=1)
    mean = AveragePool2d(second.image_out, "global")
    layers = [first, pool, second, mean, Dense(mean.d_out, 3)]
    widths = (36, *(layer.d_out for layer in layers))
    return Problem(widths, layers=layers, **options)


def solver(kind: Any, **options: Any) -> Any:
    return kind(network(**options), alpha=0.1, dtype="float64")


def arrays(state: Any) -> list[Any]:
    return [np.asarray(A) for A in (*state.W, *state.V, *state.U) if A is not None]


def stepped(solver: Any) -> tuple[Any, list[float]]:
    """Return the state after an iteration, and what is measured before and after it."""
    state = solver.init(X, Y, seed=1)
    state.descent_log = DescentLog()
    before = solver.objective(state)
    solver.step(state)
    after, violation = solver.objective_and_violation(state)
    fallen, moved = state.descent_log.decrease, state.descent_log.squared_step
    assert before - after == pytest.approx(fallen, rel=1e-9)
    assert fallen >= solver.promised_decrease() * moved
    return state, [after, violation, solver.squared_subgradient(state), fallen, moved]


FULL = {
    "Algorithm 2": (ThreeSplitting, {}),
    "Algorithm 3": (ThreeSplitting, {"residual": [False, False, True, False, False]}),
    "Algorithm 1": (TwoSplitting, {"activation": "tanh"}),
    "penalties": (ThreeSplitting, {"state_penalty": "l1:1e-2", "weight_penalty": "ridge:1e-2"}),
}


@pytest.mark.parametrize("name", share(FULL, at_most=4))
def test_an_iteration_is_that_of_the_cpu_and_descends(name: str) -> None:
    kind, options = FULL[name]
    (ours, expected), (theirs, numbers) = (
        stepped(s) for s in (solver(kind, **options), on_simulator(solver(kind, **options)))
    )
    for a, b in zip(arrays(ours), arrays(theirs), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-10)
    np.testing.assert_allclose(numbers, expected, rtol=1e-9)


def test_a_run_repeats_to_the_last_bit_and_groups_of_images_hardly_matter(monkeypatch: Any) -> None:
    runs = []
    for group_bytes in (2**28, 2**28, 1):  # all images at once, or one after the other
        for module in (convolution, device):
            monkeypatch.setattr(module, "GROUP_BYTES", group_bytes)
        trained = on_simulator(solver(ThreeSplitting))
        state = trained.init(X, Y, seed=1)
        WAITS.clear()
        trained.step(state)
        assert WAITS == ["host"]  # the flag for numbers that are not finite, at the end
        runs.append(arrays(state))
    for first, second, by_image in zip(*runs, strict=True):
        np.testing.assert_array_equal(second, first)
        np.testing.assert_allclose(by_image, first, rtol=0, atol=1e-12)


def batches(step_unit: str = "output", **options: Any) -> MiniBatchThreeSplitting:
    return MiniBatchThreeSplitting(
        network(**options), batch_size=2, rank=2, step_unit=step_unit, dtype="float64"
    )


BATCHES = {
    "plain": {},
    "residual": {"residual": [False, False, True, False, False], "step_unit": "fit"},
}


@pytest.mark.parametrize("name", share(BATCHES, at_most=2))
def test_a_pass_is_that_of_the_cpu_and_leads_to_the_same_predictions(name: str) -> None:
    solvers = batches(**BATCHES[name]), on_simulator(batches(**BATCHES[name]))
    ours, theirs = (s.fit(X, Y, max_iter=1, seed=1) for s in solvers)
    for a, b in zip(ours.state.mean_W[1:], theirs.state.mean_W[1:], strict=True):
        np.testing.assert_allclose(np.asarray(b), a, rtol=0, atol=1e-8)
    outputs, expected = theirs.network.forward(X), ours.network.forward(X)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-8)
    results = zip(solvers, (ours.state, theirs.state), strict=True)
    objectives = [s.objective(state) for s, state in results]
    assert objectives[1] == pytest.approx(objectives[0], rel=1e-8)


@pytest.mark.soak
@pytest.mark.parametrize("name", BATCHES)
def test_graphs_take_the_same_steps_to_the_last_bit(name: str) -> None:
    states = []
    for graphs in (False, True):
        trained = on_simulator(batches(**BATCHES[name]))
        trained.device.batches.graphs = graphs
        state = trained.init(np.tile(X, (4, 1)), np.tile(Y, (4, 1)), seed=1, passes=3)
        REPLAYS.clear()
        for _ in range(3):
            trained.step(state)
        states.append(state)
    assert len(REPLAYS) > 10
    for block in ("W", "mean_W", "S"):
        for ours, theirs in zip(*(getattr(state, block)[1:] for state in states), strict=True):
            np.testing.assert_array_equal(np.asarray(theirs), np.asarray(ours))
