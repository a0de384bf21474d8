"""Each block kernel minimises what its docstring says, called on its own."""

import numpy as np
import pytest
from numba.core.errors import TypingError

from fastbcd import Problem, ThreeSplitting, kernels
from fastbcd.kernels import leaky_relu, linear, relu, squared, tanh

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


def draw(*shapes, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_output_state_solves_its_optimality_condition(dtype):
    V, U, Y = draw((9, 4), (9, 4), (9, 4), dtype=dtype)
    old = V.copy()
    kernels.update_output_state(V, squared(), U, None, Y, *(0.7, 1.3, 0.4, 0.2, np.empty((3, 4))))
    gradient = 0.7 * (V - Y) + 1.3 * (V - U) + 0.4 * (V - old) + 0.2 * V
    assert np.abs(gradient).max() <= TOLERANCE[dtype]
    residual, (below,) = old.copy(), draw((9, 4), dtype=dtype, seed=1)
    kernels.update_output_state(
        residual, squared(), U, below, Y, *(0.7, 1.3, 0.4, 0.2, np.empty((3, 4)))
    )
    gradient = 0.7 * (residual - Y) + 1.3 * (residual - below - U) + 0.4 * (residual - old)
    gradient += 0.2 * residual
    assert np.abs(gradient).max() <= TOLERANCE[dtype]


def test_loss_sum_is_half_the_squared_distance():
    V, Y = draw((9, 4), (9, 4), dtype=np.float64)
    assert kernels.loss_sum(squared(), V, Y) == pytest.approx(0.5 * np.sum((V - Y) ** 2), rel=1e-14)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("d", "d_next"), [(8, 3), (3, 8), (5, 5), (6, 1), (1, 6)])
def test_hidden_state_solves_its_optimality_condition(dtype, d, d_next):
    k, m, activation = 1.7, 11, leaky_relu(0.1)
    V, U, U_next, W, bias = draw((m, d), (m, d), (m, d_next), (d_next, d), d_next, dtype=dtype)
    W64, M, info = W.astype(np.float64), np.empty_like(W), np.zeros(1, np.int32)
    factor = np.empty((min(d, d_next),) * 2)
    kernels.state_factor(factor, W64, k, info)
    kernels.state_operator(M, W64, factor, d_next < d, info)
    assert info[0] == 0
    kernels.state_center(V, activation, U, None, activation, U_next, None, 1.0)
    act = np.where(U > 0, U, dtype(0.1) * U)
    np.testing.assert_array_equal(V, act)
    kernels.solve_state(V, U_next, W, bias, M, np.empty((m, d_next), dtype))
    gradient = k * (V - act) - (U_next - V @ W.T - bias) @ W
    assert np.abs(gradient).max() <= 20 * TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("activation", [relu(), leaky_relu(0.3), linear()], ids=repr)
def test_preactivation_reports_its_decrease_and_leaves_the_residual(dtype, activation):
    U, V, B = draw((40, 7), (40, 7), (40, 7), dtype=dtype)
    U_old, b = U.copy(), B.copy()
    gamma, rho, alpha = 1.2, 0.5, 0.3

    def coupling(U):
        out = np.empty((40, 7))
        kernels.activate(out, activation, U.astype(np.float64), None)
        return 0.5 * (gamma * np.sum((V - out) ** 2) + rho * np.sum((U.astype(float) - b) ** 2))

    sums = np.zeros(2)
    kernels.update_preactivation(U, activation, V, None, B, gamma, rho, alpha, sums)
    decrease, squared_step = sums
    np.testing.assert_array_equal(B, U - b)
    assert decrease == pytest.approx(coupling(U_old) - coupling(U), rel=TOLERANCE[dtype])
    moved = np.sum((U.astype(float) - U_old) ** 2)
    assert squared_step == pytest.approx(moved, rel=TOLERANCE[dtype])
    assert decrease >= 0.5 * alpha * moved > 0  # sufficient decrease pays for the proximal term
    assert kernels.squared_distance(U, b) == pytest.approx(
        np.sum((U.astype(float) - b) ** 2), rel=1e-6
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_gram_sums_are_products_with_a_column_of_ones(dtype):
    R, V = draw((30, 4), (30, 6), dtype=dtype)
    gram, cross = np.zeros((7, 7)), np.zeros((4, 7))
    for rows in (slice(0, 13), slice(13, 30)):
        work, sums = np.empty((6, 6), dtype), np.empty(6)
        kernels.tile_gram(work, sums, V[rows])
        kernels.add_gram(gram, V[rows], work, sums)
        work, sums = np.empty((4, 6), dtype), np.empty(4)
        kernels.tile_cross(work, sums, R[rows], V[rows])
        kernels.add_cross(cross, work, sums)
    hat = np.hstack([V, np.ones((30, 1))]).astype(np.float64)
    np.testing.assert_allclose(np.tril(gram), np.tril(hat.T @ hat), atol=30 * TOLERANCE[dtype])
    np.testing.assert_allclose(cross, R.astype(np.float64).T @ hat, atol=30 * TOLERANCE[dtype])


def solve_ridge(gram, N, weight, shift, tolerance=1e-15):
    factor, scale = np.empty_like(gram), np.empty((2, len(gram)))
    method = kernels.ridge_factor(factor, scale, gram, weight, shift, tolerance)
    step = N.copy()
    kernels.ridge_solve(step, factor, scale, method, np.empty_like(step))
    return step, method


def test_ridge_solve_satisfies_the_normal_equations():
    A, N = draw((50, 8), (5, 8), dtype=np.float64)
    gram = A.T @ A
    shift = np.linspace(0.1, 1, 8)
    lower = np.tril(gram) + np.triu(np.full((8, 8), np.nan), 1)  # only the lower triangle counts
    step, method = solve_ridge(lower, N, 0.3, shift)
    assert method == kernels.gram_solve.CHOLESKY
    np.testing.assert_allclose(step @ (0.3 * gram + np.diag(shift)), N, rtol=1e-10, atol=1e-12)


def test_ridge_solve_without_regularisation_takes_the_least_norm_step_of_a_singular_system():
    # Columns 2 and 3 agree and column 5 is zero, as a pixel that is always black.
    (A,) = draw((50, 6), dtype=np.float64)
    A[:, 3], A[:, 5] = A[:, 2], 0.0
    R = draw((50, 4), dtype=np.float64, seed=1)[0]
    step, method = solve_ridge(A.T @ A, R.T @ A, 1.0, np.zeros(6), 1e-14)
    assert method == kernels.gram_solve.EIGEN
    expected = np.linalg.lstsq(A, R, rcond=None)[0].T
    np.testing.assert_allclose(step, expected, atol=1e-10)


def test_ridge_solve_takes_no_step_in_a_direction_below_the_noise():
    (A,) = draw((50, 4), dtype=np.float64)
    A[:, 3] = A[:, 2] + 1e-5 * A[:, 3]
    (N,) = draw((2, 4), dtype=np.float64)
    step, method = solve_ridge(A.T @ A, N, 1.0, np.zeros(4), 1e-7)
    assert method == kernels.gram_solve.EIGEN
    assert np.abs(step).max() < 1.0  # along (0, 0, 1, -1) it would be about 1e10 / 50
    exact, method = solve_ridge(A.T @ A, N, 1.0, np.zeros(4), 1e-14)
    assert method == kernels.gram_solve.CHOLESKY
    assert np.abs(exact).max() > 1e6


@pytest.mark.parametrize(("dtype", "method"), [("float32", "EIGEN"), ("float64", "CHOLESKY")])
def test_the_noise_that_a_solve_reckons_with_is_that_of_the_storage_type(dtype, method):
    A, U = draw((50, 4), (50, 2), dtype=np.dtype(dtype).type)
    A[:, 3] = A[:, 2] + np.dtype(dtype).type(1e-5) * A[:, 3]
    solver = ThreeSplitting(Problem((4, 2)), alpha=0.0, dtype=dtype, n_threads=1)
    state = solver.step(solver.init(A, U))
    equations = state.cache.weight_blocks[1]
    assert equations._system.method == getattr(kernels.gram_solve, method)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_ridge_solve_is_not_misled_by_features_of_different_scales(scale):
    A, N = draw((50, 4), (3, 4), dtype=np.float64)
    A[:, 0] *= scale
    step, method = solve_ridge(A.T @ A, N, 1.0, np.zeros(4), 1e-7)
    assert method == kernels.gram_solve.CHOLESKY
    np.testing.assert_allclose(step @ (A.T @ A), N, rtol=1e-8)


def test_ridge_factor_reports_a_gram_matrix_that_is_not_finite():
    gram = np.full((3, 3), np.nan)
    result = kernels.ridge_factor(np.empty((3, 3)), np.empty((2, 3)), gram, 1.0, np.ones(3), 1e-12)
    assert result == -1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda A: kernels.product(A, A[:, ::-1], A, 1.0, 0.0), "rows must be contiguous"),
        (lambda A: kernels.product(A[::-1], A, A, 1.0, 0.0), "run backwards"),
        (lambda A: kernels.product(A, np.broadcast_to(A[:1], A.shape), A, 1.0, 0.0), "overlap"),
        (lambda A: kernels.product(A.T, A, A, 1.0, 0.0), "contiguous rows"),
        (lambda A: kernels.product(A, A, A.astype(np.float64), 1.0, 0.0), "one dtype"),
        (lambda A: kernels.product(*[A.astype(np.int64)] * 3, 1.0, 0.0), "float32 or float64"),
        (
            lambda A: kernels.blas.cholesky(A, np.zeros(1, np.int32)),
            "dpotrf needs .* float64",
        ),
        (lambda A: kernels.activate(A, kernels.relu(), A.astype(np.int64), None), "got int64"),
        (lambda A: kernels.activate(A, kernels.squared(), A, None), "'squared' has no 'value'"),
    ],
)
def test_what_would_be_silently_wrong_or_a_crash_is_an_error(call, message):
    A = np.eye(3, dtype=np.float32)
    with pytest.raises((ValueError, TypingError), match=message):
        call(A)


def test_out_must_be_writable():
    A = np.eye(3, dtype=np.float32)
    frozen = A.copy()
    frozen.flags.writeable = False
    with pytest.raises(TypingError, match="read-only"):
        kernels.product(frozen, A, A, 1.0, 0.0)
    out = np.empty_like(A)
    kernels.product(out, frozen, A, 1.0, 0.0)
    np.testing.assert_array_equal(out, A)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("activation", [relu(), leaky_relu(0.3), tanh(), linear()], ids=repr)
def test_displacement_is_the_preactivation_block_from_consistent_states(dtype, activation):
    U, shift = draw((40, 7), (40, 7), dtype=dtype)
    D, T, gamma, rho = shift.copy(), np.empty_like(U), 1.2, 0.5
    square = kernels.displacement(D, T, U, activation, gamma, rho)
    assert square == pytest.approx(np.sum(D.astype(float) ** 2), rel=1e-6)

    def act(u):
        out = np.empty((40, 7))
        kernels.activate(out, activation, u.astype(np.float64), None)
        return out

    a = act(U) + shift.astype(float)
    np.testing.assert_allclose(T, a - act(U + D), atol=10 * TOLERANCE[dtype])

    def coupling(u):
        return gamma * (a - act(u)) ** 2 + rho * (u - U.astype(float)) ** 2

    least = coupling(U.astype(float) + D) - 10 * TOLERANCE[dtype]
    for step in np.linspace(-6, 6, 2001):  # no u anywhere is better
        assert (least <= coupling(U.astype(float) + step)).all()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rank", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("rows", [1, 6, 7])
def test_a_step_of_weights_leaves_out_directions_and_spares_the_bias(dtype, rank, rows):
    W, S, work, directions = draw((rows, 12), (rows, 12), (rows, rank), (rank, 12), dtype=dtype)
    old = W.astype(float)
    kernels.step_weights(W, S, work, directions, 0.3, 0.9)
    expected = old * np.r_[np.full(11, 0.9), 1] + 0.3 * (S.astype(float) - work @ directions)
    np.testing.assert_allclose(W, expected, atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_augmented_states_are_consistent_and_their_preactivations_are_summed(dtype):
    U, below = draw((9, 4), (9, 5), dtype=dtype)
    V = np.zeros((9, 5), dtype)
    square = kernels.activate_augmented(V, tanh(), U, None)
    assert square == pytest.approx(np.sum(U.astype(float) ** 2), rel=1e-6)
    np.testing.assert_allclose(V[:, :-1], np.tanh(U), atol=TOLERANCE[dtype])
    assert (V[:, -1] == 1).all()
    kernels.activate_augmented(V, tanh(), U, below)
    np.testing.assert_allclose(V[:, :-1], np.tanh(U) + below[:, :-1], atol=TOLERANCE[dtype])
    assert (V[:, -1] == 1).all()


@pytest.mark.parametrize("source", [np.float32, np.float64, np.uint8, np.bool_, np.int64])
def test_gathered_rows_are_those_of_the_index(source):
    A = (np.arange(60).reshape(10, 6) % 200).astype(source)[:, ::2]
    index, out = np.array([7, 2, 2, 9]), np.full((4, 4), np.nan, np.float32)
    kernels.gather(out[:, :-1], A, index)
    np.testing.assert_array_equal(out[:, :-1], A[index])
    assert np.isnan(out[:, -1]).all()
