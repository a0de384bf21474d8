"""GPU and CPU agree for every kernel, algorithm, activation, loss and penalty.

``pytest -m gpu tests/gpu`` needs a GPU. ``pytest -m "not gpu" tests/gpu`` runs the same tests on
the processor, with the machine code of the kernels translated and CuPy replaced.
"""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from cases import ACTIVATIONS, LOSSES, PENALTIES, named_cases

from fastbcd import InputError, Problem, ThreeSplitting, TwoSplitting, kernels, one_hot
from fastbcd.layers import AveragePool2d, Conv2d, Dense, MaxPool2d
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
N = 1003
RNG = np.random.default_rng(7)
X = RNG.standard_normal((N, 12)).astype(np.float32)
LABELS = RNG.integers(0, 3, N)
Y = one_hot(LABELS)
CASES = named_cases()


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_gives_what_the_cpu_gives(name: str, card: Any) -> None:
    from agreement import check

    import fastbcd.kernels.cuda as target

    # The GPU fuses multiplications with additions and has another exponential.
    check(CASES[name], target, card.array, card.numpy, slack=8.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_million_proximal_steps_find_the_cpus_minima(name: str, dtype: str, card: Any) -> None:
    import fastbcd.kernels.cuda as target

    act, rng, n = ACTIVATIONS[name], np.random.default_rng(11), 1000
    V, B = ((3 * rng.standard_normal((n, n))).astype(dtype) for _ in range(2))
    for q in (0.05, 1.0, 20.0):
        U, R = B.copy(), B.copy()
        kernels.update_preactivation(U, act, V, None, R, 1.0, q, 0.0, None)
        G, D = card.array(B), card.array(B)
        target.update_preactivation(G, act, card.array(V), None, D, 1.0, q, 0.0, None)
        found = card.numpy(G)

        # If two minima are equally deep, either is right; so the test compares depths, not places.
        def depth(u: Any, q: float = q) -> Any:
            value = np.empty_like(u)
            kernels.activate(value, act, u, None)
            V64, B64 = V.astype(float), B.astype(float)
            return (V64 - value) ** 2 + q * (u.astype(float) - B64) ** 2

        size = V.astype(float) ** 2 + q * B.astype(float) ** 2 + 1.0
        assert float(((depth(found) - depth(U)) / size).max()) < 16 * np.finfo(dtype).eps


def both(make: Any, iterations: int = 3, seed: int = 1) -> tuple[list[Any], list[float]]:
    states, objectives = [], []
    for device in ("cpu", "cuda"):
        solver = make(device)
        state = solver.init(X, targets_of(solver.problem), seed=seed)
        for _ in range(iterations):
            solver.step(state)
        states.append([solver.device.numpy(W) for W in state.weights])
        objectives.append(solver.objective(state))
    return states, objectives


def targets_of(problem: Problem) -> Any:
    if problem.loss.targets == "two classes":
        return (LABELS == 1).astype(np.float32)[:, None]
    return Y + np.float32(0.1) if problem.loss.targets == "positive" else Y


def agree(make: Any, tolerance: float = 2e-3, **options: Any) -> None:
    (ours, theirs), (F, G) = both(make, **options)
    assert pytest.approx(F, rel=tolerance) == G
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance * float(abs(a).max(initial=0.0)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_three_splitting(name: str, residual: bool, dtype: str, card: Any) -> None:
    problem = Problem((12, 16, 16, 3), activation=ACTIVATIONS[name], residual=residual)
    # States of a polynomial are nearly collinear: relative to its largest element, the last W in
    # float32 is 1e-3 from that in float64 on the CPU, and 3e-3 on a card.
    float32 = 8e-3 if name == "polynomial" else 2e-3
    agree(
        lambda device: ThreeSplitting(problem, alpha=0.1, dtype=dtype, device=device),
        tolerance=float32 if dtype == "float32" else 1e-7,
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_two_splitting(name: str, card: Any) -> None:
    problem = Problem((12, 16, 3), activation=ACTIVATIONS[name])
    agree(
        lambda device: TwoSplitting(problem, alpha=0.1, dtype="float64", device=device),
        tolerance=1e-5,
        iterations=2,
    )


@pytest.mark.parametrize("solver", [ThreeSplitting, TwoSplitting])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, solver: Any, card: Any) -> None:
    k = 1 if LOSSES[name].targets == "two classes" else 3
    problem = Problem((12, 16, k), loss=LOSSES[name])
    agree(lambda device: solver(problem, alpha=0.1, device=device))


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties(name: str, card: Any) -> None:
    for kind in ("weight_penalty", "state_penalty"):
        problem = Problem((12, 16, 3), **{kind: PENALTIES[name]})
        agree(lambda device, problem=problem: ThreeSplitting(problem, alpha=0.1, device=device))


@pytest.mark.parametrize("loss", ["squared", "cross_entropy", "hinge"])
def test_mini_batches(loss: str, card: Any) -> None:
    problem = Problem((12, 16, 16, 3), activation="tanh", loss=loss)
    agree(
        lambda device: MiniBatchThreeSplitting(problem, batch_size=100, rank=4, device=device),
        tolerance=2e-2,
        iterations=2,
    )


@pytest.mark.parametrize("solver", [ThreeSplitting, TwoSplitting])
def test_acceleration(solver: Any, card: Any) -> None:
    problem = Problem((12, 16, 3), state_penalty="nonnegative/none")
    options = {"alpha": 0.1, "dtype": "float64", "acceleration": "nesterov"}
    agree(lambda device: solver(problem, device=device, **options), tolerance=1e-5, iterations=4)


def images(**options: Any) -> Problem:
    """The twelve inputs as images of 4 x 3 pixels, through all types of layers of images."""
    first = Conv2d((4, 3, 1), 5, 3, padding=1)
    pool = MaxPool2d(first.image_out, (2, 1))
    second = Conv2d(pool.image_out, 6, 2, stride=(1, 2), padding=1)
    mean = AveragePool2d(second.image_out, (3, 2))
    layers = [first, pool, second, mean, Dense(mean.d_out, 3)]
    return Problem((12, *(layer.d_out for layer in layers)), layers=layers, **options)


IMAGES = {
    "plain": {},
    "residual": {"residual": [False, False, True, False, False]},
    "penalties": {"state_penalty": "l1:1e-2", "weight_penalty": "l1:1e-3"},
    "accelerated": {"acceleration": "nesterov"},
}


@pytest.mark.parametrize("solver", [ThreeSplitting, TwoSplitting])
@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str, solver: Any, card: Any) -> None:
    options: dict[str, Any] = dict(IMAGES[name])
    if solver is TwoSplitting and "residual" in options:
        pytest.skip("Algorithm 1 has no residual layers")
    execution = {"dtype": "float64", "acceleration": options.pop("acceleration", None)}
    problem = images(loss="cross_entropy", **options)
    agree(lambda device: solver(problem, alpha=0.1, device=device, **execution), tolerance=1e-6)


@pytest.mark.parametrize("residual", [False, True])
def test_mini_batches_of_images(residual: bool, card: Any) -> None:
    problem = images(loss="cross_entropy", residual=[False, False, residual, False, False])
    agree(
        lambda device: MiniBatchThreeSplitting(problem, batch_size=100, rank=4, device=device),
        tolerance=2e-2,
        iterations=2,
    )


def test_the_objective_never_rises_in_fifty_iterations(card: Any) -> None:
    for solver in (ThreeSplitting, TwoSplitting):
        trained = solver(Problem((12, 64, 64, 3)), alpha=1e-2, device="cuda")
        state, previous = trained.init(X, Y), np.inf
        for _ in range(50):
            trained.step(state)
            objective = trained.objective(state)
            assert objective <= previous * (1 + 1e-6)
            previous = objective


@pytest.mark.parametrize("solver", [ThreeSplitting, MiniBatchThreeSplitting])
@pytest.mark.parametrize("problem", [Problem((12, 64, 3)), images()], ids=["dense", "images"])
def test_a_run_repeats_to_the_last_bit(problem: Problem, solver: Any, card: Any) -> None:
    runs = [solver(problem, device="cuda").fit(X, Y, max_iter=2).network.W for _ in range(2)]
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.gpu
def test_arrays_on_the_gpu_are_taken_without_a_copy(gpu: Any) -> None:
    solver = ThreeSplitting(Problem((12, 16, 3)), alpha=0.1, device="cuda")
    mine = gpu.array(X)
    state = solver.init(mine, gpu.array(Y, np.float32))
    assert state.X.data.ptr == mine.data.ptr
    from numba import cuda

    theirs = cuda.to_device(X)
    state = solver.init(theirs, Y)
    assert state.X.data.ptr == theirs.__cuda_array_interface__["data"][0]
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        tensor = torch.from_numpy(X).cuda()
        assert solver.init(tensor, Y).X.data.ptr == tensor.data_ptr()


@pytest.mark.gpu
def test_the_cpu_refuses_arrays_of_the_gpu(gpu: Any) -> None:
    with pytest.raises(InputError, match="device='cuda'"):
        ThreeSplitting(Problem((12, 16, 3))).init(gpu.array(X), Y)


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "within"), [("tf32", 5e-2), ("bf16", 2e-1)])
def test_rounded_products_are_close_and_float32_is_closer(
    precision: str, within: float, gpu: Any
) -> None:
    def weights(**options: Any) -> Any:
        problem = Problem((12, 256, 3))
        solver = ThreeSplitting(problem, alpha=0.1, **options)
        return solver.fit(X, Y, max_iter=1).network.W[0]

    exact = weights(dtype="float64")
    size = float(abs(exact).max())
    float32, rounded = weights(device="cuda"), weights(device="cuda", precision=precision)
    assert float(abs(float32 - exact).max()) < 1e-3 * size
    assert float(abs(rounded - exact).max()) < within * size


@pytest.mark.gpu
def test_what_does_not_fit_is_refused_with_both_numbers(gpu: Any, monkeypatch: Any) -> None:
    solver = ThreeSplitting(Problem((12, 16, 3)), device="cuda")
    monkeypatch.setattr(solver.device.library, "memory", lambda: (1000, 2000))
    with pytest.raises(InputError, match="1,000 bytes free"):
        solver.init(X, Y)


@pytest.mark.parametrize("rank", [0, 1, 4, 12, 40])
def test_graphs_of_mini_batches_replay_to_the_last_bit(rank: int, card: Any) -> None:
    runs = []
    for graphs in (False, True):
        problem = Problem((12, 32, 16, 3), activation="tanh", loss="cross_entropy")
        solver = MiniBatchThreeSplitting(problem, batch_size=50, rank=rank, device="cuda")
        solver.device.batches.graphs = graphs
        state = solver.init(X, Y, seed=1, passes=3)
        state.batch_loss = np.zeros(2)
        for _ in range(3):
            solver.step(state)
        arrays = [solver.device.numpy(W) for W in (*state.W[1:], *state.mean_W[1:], *state.S[1:])]
        runs.append((*arrays, state.batch_loss))
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.gpu
def test_networks_that_train_one_after_the_other_and_at_once(gpu: Any) -> None:
    """Old graphs are collected while new ones are captured, without a wait for the whole card."""

    def train(seed: int) -> Any:
        problem = Problem((12, 32, 3), loss="cross_entropy")
        solver = MiniBatchThreeSplitting(problem, batch_size=50, rank=4, device="cuda")
        return solver.fit(gpu.array(X), gpu.array(Y, np.float32), max_iter=3, seed=seed).network.W

    alone = [train(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(train, range(6)))
    for ours, theirs in zip(alone, together, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_solver_survives_pickling(card: Any) -> None:
    solver = pickle.loads(pickle.dumps(ThreeSplitting(Problem((12, 8, 3)), device="cuda")))
    assert np.isfinite(solver.fit(X, Y, max_iter=1).network.W[0]).all()
