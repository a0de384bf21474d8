"""Mini-batches on the CUDA device, with kernels in the simulator, agree with the CPU device."""

from __future__ import annotations

from typing import Any

import needs_simulator  # noqa: F401 - skips this module without it
import numpy as np
import pytest
from host_library import REPLAYS, WAITS, on_simulator
from share import share

from fastbcd import Problem, one_hot, resume
from fastbcd.callbacks import SaveCheckpoint
from fastbcd.kernels.cuda import target
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting

N = 17
RNG = np.random.default_rng(6)
X = RNG.standard_normal((N, 4)).astype(np.float32)
Y = one_hot(RNG.integers(0, 3, N))

PROBLEMS = {
    "squared": {},
    "residual": {"widths": (4, 5, 5, 3), "residual": True, "loss": "cross_entropy"},
    "penalised": {"weight_penalty": "l1:1e-2"},
    "output": {"step_unit": "output"},
    "output metric": {"output_rank": 3},
    "nesterov": {"nesterov": True},
    "levels": {"loss": "quantile:0.1,0.5,0.9"},
    "counts": {"loss": "poisson"},
}


def make(
    batch_size: int = 6,
    step_unit: str = "fit",
    output_rank: int = 0,
    nesterov: bool = False,
    **options: Any,
) -> MiniBatchThreeSplitting:
    problem = Problem(**{"widths": (4, 6, 5, 3), "activation": "tanh", **options})
    of_step: dict[str, Any] = {"rank": 2, "output_rank": output_rank}
    of_step |= {"step_unit": step_unit, "nesterov": nesterov}
    return MiniBatchThreeSplitting(problem, batch_size=batch_size, **of_step)


@pytest.mark.parametrize("name", share(PROBLEMS, at_most=2))
def test_a_pass_takes_the_cpus_steps(name: str) -> None:
    weight = np.random.default_rng(8).random(N) if name == "residual" else None
    states, numbers = [], []
    for solver in (make(**PROBLEMS[name]), on_simulator(make(**PROBLEMS[name]))):
        state = solver.init(X, Y, seed=1, passes=2, sample_weight=weight)
        state.batch_loss = np.zeros(2)
        solver.step(state)
        states.append(state)
        numbers.append((*state.batch_loss, solver.objective(state)))
    ours, theirs = states
    for l in range(1, len(ours.W)):
        scale = float(abs(ours.W[l]).max())
        np.testing.assert_allclose(np.asarray(theirs.W[l]), ours.W[l], rtol=0, atol=1e-4 * scale)
        np.testing.assert_allclose(
            np.asarray(theirs.mean_W[l]), ours.mean_W[l], rtol=0, atol=1e-4 * scale
        )
        np.testing.assert_allclose(
            float(theirs.metrics[l].level[0]), ours.metrics[l].level, rtol=1e-2
        )
    np.testing.assert_allclose(numbers[1], numbers[0], rtol=1e-4)


def test_a_run_goes_on_from_a_checkpoint_to_the_bits_of_one_never_stopped(tmp_path: Any) -> None:
    path = tmp_path / "c.safetensors"
    whole = on_simulator(make()).fit(X, Y, max_iter=3, seed=4, callbacks=[SaveCheckpoint(path, 2)])
    resumed = resume(path, on_simulator(make()), X, Y).state
    assert resumed.iteration == 3
    for l, metric in enumerate(resumed.metrics[1:], start=1):
        for block in ("W", "mean_W", "S"):
            ours, theirs = (getattr(state, block)[l] for state in (whole.state, resumed))
            np.testing.assert_array_equal(np.asarray(theirs), np.asarray(ours))
        for key, array in metric.state_dict().items():
            expected = whole.state.metrics[l].state_dict()[key]
            np.testing.assert_array_equal(np.asarray(array), np.asarray(expected))


@pytest.mark.parametrize("step_unit", ["fit", "output"])
def test_a_pass_reads_nothing_from_the_gpu_but_at_its_end(step_unit: str) -> None:
    solver = on_simulator(make(step_unit=step_unit))
    state = solver.init(X, Y, seed=1, passes=3)
    solver.step(state)  # the first gain ratios come from the host
    WAITS.clear()
    solver.step(state)
    assert WAITS == ["host"]  # the read of the flag


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "residual" else [pytest.mark.slow])
        for name in PROBLEMS
    ],
)
def test_graphs_take_the_same_steps_to_the_last_bit(name: str, monkeypatch: Any) -> None:
    rng = np.random.default_rng(9)
    inputs, targets = rng.standard_normal((40, 4)), one_hot(rng.integers(0, 3, 40))
    weight = rng.random(40) if name == "residual" else None
    states, launches = [], []
    for graphs in (False, True):
        solver = on_simulator(make(batch_size=4, **PROBLEMS[name]))
        solver.device.batches.graphs = graphs
        state = solver.init(inputs, targets, seed=1, passes=3, sample_weight=weight)
        state.batch_loss = np.zeros(2)
        REPLAYS.clear()
        launched: list[str] = []
        monkeypatch.setattr(target, "launched", launched)
        for _ in range(3):
            solver.step(state)
        states.append(state)
        launches.append(len(launched))
    # All but two batches of each kind (30 in all) are replayed, and a replay launches nothing else.
    assert len(REPLAYS) > 20
    assert launches[1] < 0.4 * launches[0]
    eager, replayed = states
    np.testing.assert_array_equal(replayed.batch_loss, eager.batch_loss)
    for l in range(1, len(eager.W)):
        for block in ("W", "mean_W", "S"):
            ours, theirs = (np.asarray(getattr(state, block)[l]) for state in states)
            np.testing.assert_array_equal(theirs, ours)


@pytest.mark.slow
def test_a_graph_knows_when_arrays_were_replaced() -> None:
    states = []
    for graphs in (False, True):
        solver = on_simulator(make(batch_size=4))
        solver.device.batches.graphs = graphs
        state = solver.init(np.tile(X, (4, 1)), np.tile(Y, (4, 1)), seed=1, passes=3)
        solver.step(state)
        solver.step(state)
        state.W[2] = state.W[2].copy()
        solver.rho = 8.0
        solver.step(state)
        states.append(state)
    for ours, theirs in zip(states[0].W[1:], states[1].W[1:], strict=True):
        np.testing.assert_array_equal(np.asarray(theirs), np.asarray(ours))


def test_bytes_stay_bytes_and_small_types_are_taken() -> None:
    pixels = RNG.integers(0, 9, (N, 4)).astype(np.uint8)
    solver, other = on_simulator(make()), make()
    states = [s.init(pixels, Y, seed=1, passes=2) for s in (solver, other)]
    assert states[0].X.dtype == np.uint8
    for s, state in zip((solver, other), states, strict=True):
        s.step(state)
    np.testing.assert_allclose(np.asarray(states[0].W[1]), states[1].W[1], atol=1e-4)


def test_a_stream_goes_on_the_gpu() -> None:
    states = []
    for solver in (make(), on_simulator(make())):
        solver.schedule = lambda share: 1.0
        state = solver.init(X, Y, seed=1, passes=1)
        solver.partial_fit(state, X[:5], Y[:5], np.full(5, 2.0))
        solver.partial_fit(state, X[5:12], Y[5:12])
        states.append(state)
    np.testing.assert_allclose(np.asarray(states[1].W[2]), states[0].W[2], atol=1e-4)
