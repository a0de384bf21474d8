"""``step_unit="spectral"``: steps that change the outputs of a batch alike in all directions."""

from functools import partial

import numpy as np
import pytest
from batches import check_threads_change_no_bit, random_data

from fastbcd import InputError, MiniBatchThreeSplitting, Problem, kernels
from fastbcd.devices.cpu import CPU
from fastbcd.layers import Conv2d, Dense, GroupedConv2d
from fastbcd.solvers.mini_batch import spectral
from fastbcd.solvers.mini_batch.settings import step_unit_for
from fastbcd.solvers.mini_batch.spectral import inverse_root, spread

WORK = CPU(n_threads=1).work
PIXELS, KINDS, ETA = 64, 4, 0.07
CONVOLUTION = Conv2d((8, 8, 1), channels=6, kernel=3, stride=2)
GROUPS = GroupedConv2d((4, 4, 4), channels=6, kernel=3, stride=2, groups=2)
NETWORKS = {
    "dense": {"widths": (PIXELS, 20, 15, KINDS), "loss": "cross_entropy"},
    "convolution": {
        "widths": (PIXELS, CONVOLUTION.d_out, KINDS),
        "layers": [CONVOLUTION, Dense(CONVOLUTION.d_out, KINDS)],
        "loss": "cross_entropy",
    },
    "groups": {
        "widths": (PIXELS, GROUPS.d_out, KINDS),
        "layers": [GROUPS, Dense(GROUPS.d_out, KINDS)],
    },
}


def solver_of(name, batch_size=100, **options):
    options = {"step_unit": "spectral", "step_size": ETA, "dtype": "float64", **options}
    return MiniBatchThreeSplitting(Problem(**NETWORKS[name]), batch_size, **options)


def positive(rng, d):
    A = rng.standard_normal((d, 2 * d))
    return A @ A.T / d


@pytest.mark.parametrize("shape", [(1, 4), (3, 7), (5, 6), (8, 8)])
def test_without_damping_it_is_steepest_descent_in_the_spectral_norm(shape, monkeypatch):
    monkeypatch.setattr(spectral, "SPECTRAL_DAMPING", 1e-14)
    rng = np.random.default_rng(0)
    for _ in range(50):
        M, H = rng.standard_normal(shape), positive(rng, shape[1])
        Z = np.linalg.solve(H, M.T).T.copy()
        assert spread(kernels, Z, M, 1, WORK)
        np.testing.assert_allclose(Z @ H @ Z.T, np.eye(shape[0]), atol=1e-6)
        root = np.linalg.cholesky(H)  # |X H^(1/2)|_2 = |X root|_2
        favoured = np.sum(Z * M)
        # The maximum is the sum of the singular values of M H^(-1/2), and no other step has more.
        singular = np.linalg.svd(np.linalg.solve(root, M.T), compute_uv=False)
        assert favoured == pytest.approx(singular.sum(), rel=1e-6)
        for size in (0.05, 1.0):
            X = Z + size * rng.standard_normal(shape)
            assert np.sum(X * M) / np.linalg.norm(X @ root, 2) <= favoured * (1 + 1e-9)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize(("dtype", "digits"), [("float64", 1e-12), ("float32", 1e-5)])
def test_the_inverse_root_adds_a_tenth_of_the_mean_eigenvalue(dtype, digits, unit):
    rng = np.random.default_rng(1)
    S = unit * positive(rng, 6)
    damped = S + 0.1 * np.trace(S) / 6 * np.eye(6)
    root = inverse_root(kernels, S.astype(dtype))
    assert root.dtype == dtype
    root = root.astype("float64")
    np.testing.assert_allclose(root @ damped @ root, np.eye(6), atol=digits)
    np.testing.assert_allclose(root, root.T, atol=digits * abs(root).max())
    assert np.linalg.eigvalsh(root).min() > 0
    # Other eigenvalues are rounding, some of them below zero.
    low = (np.outer(S[0], S[0]) / unit).astype(dtype)
    assert np.linalg.cond(inverse_root(kernels, low)) == pytest.approx(
        np.sqrt(61), rel=1e5 * digits
    )
    assert inverse_root(kernels, np.zeros((3, 3), dtype)) is None


def test_the_inverse_root_of_what_rounding_has_made_indefinite():
    negative = np.diag([1.0, -2.0, -3.0])  # of the eigenvalues 1, 0, 0 a tenth of the mean is 1/30
    root = inverse_root(kernels, negative)
    np.testing.assert_allclose(root, np.diag([(31 / 30) ** -0.5, 30**0.5, 30**0.5]), rtol=1e-12)
    assert inverse_root(kernels, -np.eye(3)) is None
    cancelled = np.array([[1e-38, 0, 0], [0, 3, 0], [0, 0, -3]], "float32")
    assert np.isfinite(inverse_root(kernels, cancelled)).all()


def test_float32_is_enough_for_the_inverse_root_of_256_outputs():
    rng = np.random.default_rng(6)
    Q, _ = np.linalg.qr(rng.standard_normal((256, 256)))
    S = (Q * np.geomspace(1e-9, 1.0, 256)) @ Q.T
    exact = inverse_root(kernels, S)
    root = inverse_root(kernels, S.astype("float32"))
    assert np.linalg.norm(root - exact, 2) < 1e-4 * np.linalg.norm(exact, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_group_of_rows_has_its_own(dtype):
    rng = np.random.default_rng(2)
    M = rng.standard_normal((6, 9)).astype(dtype)
    Z = (M @ np.linalg.inv(positive(rng, 9))).astype(dtype)
    parts = [Z[:3].copy(), Z[3:].copy()]
    assert spread(kernels, Z, M, 2, WORK)
    for k, part in enumerate(parts):
        assert spread(kernels, part, M[3 * k : 3 * k + 3], 1, WORK)
        np.testing.assert_array_equal(Z[3 * k : 3 * k + 3], part)


def one_step(name, X, Y, batches=0, **options):
    """The step of each W on the batch X, Y, and the momentum and state after it."""
    solver = solver_of(name, weight_decay=0, schedule="constant", **options)
    state = solver.init(X, Y, seed=2)
    for _ in range(batches):
        solver.partial_fit(state, X, Y)
    before = [W.copy() for W in state.W[1:]]
    solver.partial_fit(state, X, Y)
    steps = [new - old for new, old in zip(state.W[1:], before, strict=True)]
    return [None, *steps], state, solver


@pytest.mark.parametrize("name", NETWORKS)
def test_the_step_is_that_of_the_fit_times_the_inverse_root(name):
    X, Y = random_data(100, d=PIXELS, k=KINDS)
    fits, state, _ = one_step(name, X, Y, step_unit="output")
    steps, _, solver = one_step(name, X, Y)
    for l, layer in enumerate(solver.problem.layers, 1):
        groups, expected = (2 if layer is GROUPS else 1), []
        # The fit is Z = M H^-1 up to a factor that is the same for all groups.
        for Z, M in zip(np.split(fits[l], groups), np.split(state.S[l], groups), strict=True):
            S = Z @ M.T
            values, vectors = np.linalg.eigh((S + S.T) / 2)
            np.testing.assert_allclose(S, S.T, atol=1e-9 * abs(S).max())
            factors = (values.clip(0) + 0.1 * values.mean()) ** -0.5
            expected.append((vectors * factors) @ vectors.T @ Z)
        expected = np.vstack(expected)
        along = np.sum(steps[l] * expected) / np.sum(expected**2)
        np.testing.assert_allclose(
            steps[l], along * expected, rtol=0, atol=1e-8 * abs(steps[l]).max()
        )


@pytest.mark.parametrize("batches", [0, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_changes_the_outputs_by_the_step_size(name, batches):
    X, Y = random_data(60, d=PIXELS, k=KINDS)
    steps, state, solver = one_step(name, X, Y, batches)
    first = solver.problem.layers[0]
    linear = first.linear_part(X, steps[1]).reshape(-1, len(steps[1])) + steps[1][:, -1]
    assert np.sqrt(np.mean(linear**2)) == pytest.approx(ETA, rel=1e-9)
    assert state.batches == batches + 1


def test_a_change_of_the_outputs_is_nearly_the_same_in_all_directions():
    X, Y = random_data(100, d=PIXELS, k=KINDS)
    spreads = {}
    for unit in ("output", "spectral"):
        steps, _, _ = one_step("dense", X, Y, step_unit=unit)
        change = X @ steps[1][:, :-1].T + steps[1][:, -1]
        spreads[unit] = np.linalg.svd(change, compute_uv=False)
    shares = {unit: s[:4].sum() / s.sum() for unit, s in spreads.items()}
    assert shares["spectral"] < 0.8 * shares["output"]


def test_threads_change_no_bit():
    X, Y = random_data(450, d=PIXELS, k=KINDS)
    for name in NETWORKS:
        check_threads_change_no_bit(partial(solver_of, name, 150, dtype="float32"), X, Y)


def test_a_batch_of_weight_0_moves_nothing():
    X, Y = random_data(80, d=PIXELS, k=KINDS)
    solver = solver_of("convolution", weight_decay=0)
    state = solver.init(X, Y, seed=2)
    before = [W.copy() for W in state.W[1:]]
    solver.partial_fit(state, X, Y, sample_weight=np.zeros(len(X)))
    for old, new in zip(before, state.W[1:], strict=True):
        np.testing.assert_array_equal(old, new)


def test_products_that_overflow_are_an_error():
    M = np.full((3, 4), 1e30, np.float32)
    assert not spread(kernels, M.copy(), M, 1, WORK)
    X, Y = random_data(80, d=PIXELS, k=KINDS)
    solver = solver_of("dense", dtype="float32")
    state = solver.init(X, Y, seed=2)
    state.S[2][...] = 1e30
    with pytest.raises(FloatingPointError, match="products of steps overflow float32"):
        solver.partial_fit(state, X, Y)


def test_it_learns():
    rng = np.random.default_rng(0)
    y = rng.integers(KINDS, size=400)
    X = 0.5 * rng.standard_normal((400, PIXELS)) + np.eye(KINDS)[y].repeat(PIXELS // KINDS, 1)
    solver = solver_of("convolution", batch_size=40, dtype="float32")
    fitted = solver.fit(X, np.eye(KINDS)[y], max_iter=5, seed=0)
    assert solver.objective(fitted.state) < 0.1


def test_a_gpu_is_refused():
    class GPU:
        name = "cuda"

    problem = Problem(**NETWORKS["dense"])
    with pytest.raises(InputError, match="^step_unit: spectral steps run on the processor only"):
        step_unit_for(problem, GPU(), "spectral")
    assert step_unit_for(problem, GPU(), None) == "fit"
