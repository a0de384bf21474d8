"""Mini-batches: each piece by its definition, and the promises to users."""

import pickle
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from batches import digits, memory_mapped, random_data
from share import share
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso

import fastbcd
from fastbcd import (
    MiniBatchThreeSplitting,
    Problem,
    kernels,
    one_hot,
)
from fastbcd.callbacks import Accuracy, Objective
from fastbcd.devices import CPU
from fastbcd.layers import Dense
from fastbcd.solvers.mini_batch.batches import shuffled_batches
from fastbcd.solvers.mini_batch.gram_metric import GramMetric


def gradients(W, problem, X, Y):
    """``dloss/dU_l`` of each sample by backpropagation in float64, the slow and obvious way."""
    V, U = [X], [None]
    for l, w in enumerate(W, start=1):
        u = V[-1] @ w[:, :-1].T + w[:, -1]
        v = np.empty_like(u)
        kernels.activate(v, problem.activations[l - 1], u, None)
        U.append(u)
        V.append(v + V[-1] if problem.residual[l - 1] else v)
    shifted = np.exp(V[-1] - V[-1].max(axis=1, keepdims=True))
    slope = V[-1] - Y
    if problem.loss.name == "cross_entropy":
        slope = shifted / shifted.sum(axis=1, keepdims=True) - Y
    out = {}
    for l in range(len(W), 0, -1):
        act = problem.activations[l - 1]
        out[l] = slope * np.vectorize(act.derivative)(U[l])
        slope = out[l] @ W[l - 1][:, :-1] + (slope if problem.residual[l - 1] else 0.0)
    return out


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus", "linear"])
@pytest.mark.parametrize("residual", [False, True])
def test_small_displacements_follow_the_negative_gradient(activation, residual):
    X, Y = random_data()
    problem = Problem((12, 9, 9, 9, 4), activation=activation, residual=residual)
    solver = MiniBatchThreeSplitting(
        problem, batch_size=300, dtype="float64", displacement=1e-6, rho=1e4, n_threads=1
    )
    state = solver.init(X, Y, seed=3)
    before = [W.copy() for W in state.W[1:]]
    solver.partial_fit(state, X, Y)
    batch = state.cache.batches[300]
    for l, gradient in gradients(before, problem, X, Y).items():
        D = batch.D[l]
        cosine = -np.sum(D * gradient) / np.linalg.norm(D) / np.linalg.norm(gradient)
        assert cosine > 0.999, (l, cosine)
        if l < problem.n_layers:  # about the size that was asked for
            size = np.linalg.norm(D) / np.linalg.norm(batch.U[l])
            assert 0.05e-6 < size < 5e-6


def test_a_full_rank_metric_is_the_inverse_of_the_damped_gram_matrix():
    rng = np.random.default_rng(0)
    V = rng.standard_normal((200, 7)) * [5, 3, 2, 1, 1, 0.5, 0.2] + 1
    V[:, -1] = 1
    metric = GramMetric(CPU(1), 7, 7, 0.5, np.float64, seed=0)
    for _ in range(100):  # steps of the power method
        projected = np.empty((200, 7))
        metric.project(kernels, projected, V)
        metric.add(kernels, V, projected, Dense(6, 4))
        assert metric.renew(CPU(1), np.zeros((1, 7)))
    G = V.T @ V / 200
    S = rng.standard_normal((4, 7))
    W, leading = np.zeros((4, 7)), np.empty((4, 7))
    metric.project(kernels, leading, S)
    kernels.step_weights(W, S, leading, metric.directions, 1 / metric.level, 1.0)
    np.testing.assert_allclose(
        W, S @ np.linalg.inv(G + 0.5 * np.trace(G) / 7 * np.eye(7)), rtol=1e-8
    )


def test_a_metric_of_low_rank_keeps_the_leading_directions_and_the_mean_of_the_rest():
    rng = np.random.default_rng(1)
    V = rng.standard_normal((4000, 20)) * np.r_[9, 6, 4, np.ones(17)]
    metric = GramMetric(CPU(1), 20, 3, 2.0, np.float64, seed=5)
    projected = np.empty((4000, 3))
    for _ in range(30):
        metric.project(kernels, projected, V)
        metric.add(kernels, V, projected, Dense(19, 4))
        assert metric.renew(CPU(1), np.zeros((1, 20)))
    values, vectors = np.linalg.eigh(V.T @ V / 4000)
    overlap = np.linalg.svd(metric.Q.T @ vectors[:, -3:], compute_uv=False)
    np.testing.assert_allclose(overlap, 1, atol=1e-6)
    expected = np.mean(values[:-3]) + 2 * np.sum(values) / 20
    assert metric.level == pytest.approx(expected, rel=1e-6)
    metric.ceiling = 0.5  # directions that are not kept may be as large as the last one that is
    metric.add(kernels, V, projected, Dense(19, 4))
    assert metric.renew(CPU(1), np.zeros((1, 20)))
    assert metric.level == pytest.approx(values[-3] / 0.5, rel=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_the_w_block_is_the_damped_least_squares_fit_of_the_targets(decay):
    X, Y = random_data(d=6)
    solver = MiniBatchThreeSplitting(
        *(Problem((6, 4)), 300, 1.0, "constant", 0.0, 2.0, 7),
        weight_decay=decay,
        average=0,
        dtype="float64",
    )
    state = solver.init(X, Y)
    state.metrics[1].Q[:] = np.linalg.eigh(np.c_[X, np.ones(300)].T @ np.c_[X, np.ones(300)])[1]
    before = state.W[1].copy()
    solver.partial_fit(state, X, Y)
    D, V = state.cache.batches[300].D[1], np.c_[X, np.ones(300)]
    target = D / np.sqrt(np.mean(D * D))
    alpha = 2.0 * np.sum(V * V) / 300 / 7
    step = np.linalg.solve(V.T @ V / 300 + alpha * np.eye(7), V.T @ target / 300).T
    shrunk = before * np.r_[np.full(6, 1 - decay), 1]
    scale = state.output_unit
    np.testing.assert_allclose(state.W[1], shrunk + scale * step, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("problem", "options", "least"),
    share(
        [
            ({}, {}, 0.97),
            ({"loss": "cross_entropy"}, {}, 0.97),
            ({"loss": "logistic_ovr", "activation": "tanh"}, {}, 0.96),
            ({"loss": "hinge", "activation": "softplus"}, {}, 0.96),
            ({"loss": "exponential", "activation": "leaky_relu:0.1"}, {}, 0.96),
            ({"activation": "sigmoid"}, {}, 0.92),
            ({"residual": True}, {}, 0.97),
            ({}, {"dtype": "float64"}, 0.97),
            ({}, {"rank": 0}, 0.95),
            ({}, {"schedule": "constant"}, 0.96),
        ],
        at_most=2,
    ),
)
def test_it_learns_digits_with_everything_at_its_default(problem, options, least):
    X, y, X_test, y_test = digits()
    solver = MiniBatchThreeSplitting(Problem((64, 96, 96, 10), **problem), **options)
    callbacks = [Objective(), Accuracy("test", X_test, y_test)]
    result = solver.fit(X, one_hot(y), callbacks=callbacks)
    assert result.history[-1]["test_accuracy"] >= least
    assert result.history[-1]["objective"] < 0.5 * result.history[0]["objective"]


def test_depth_is_no_obstacle():
    X, y, X_test, y_test = digits()
    for residual in (False, True):
        problem = Problem((64, *[48] * 16, 10), residual=residual)
        solver = MiniBatchThreeSplitting(problem)
        result = solver.fit(X, one_hot(y), callbacks=[Accuracy("test", X_test, y_test)])
        assert result.history[-1]["test_accuracy"] >= 0.93, residual


def test_regression_does_not_depend_on_the_unit_of_the_targets():
    X, y = load_diabetes(return_X_y=True)
    X, y = X / X.std(axis=0), y[:, None]

    def outputs(unit):
        solver = MiniBatchThreeSplitting(Problem((10, 32, 1)), batch_size=64, dtype="float64")
        return solver.fit(X[:350], unit * y[:350], max_iter=15).network.forward(X[350:]) / unit

    plain = outputs(1.0)
    assert 1 - np.mean((plain - y[350:]) ** 2) / np.var(y[350:]) > 0.4
    np.testing.assert_allclose(outputs(1024.0), plain, rtol=2e-2)


def weights(X, Y, n_threads=1, dtype="float32", **options):
    problem = Problem((X.shape[1], 300, 300, Y.shape[1]), residual=True)
    solver = MiniBatchThreeSplitting(
        problem, batch_size=128, n_threads=n_threads, tile_rows=50, dtype=dtype, **options
    )
    return solver.fit(X, Y, max_iter=2, seed=5).network.W


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [2, 5])
def test_results_are_identical_to_the_last_bit_on_any_number_of_threads(n_threads, dtype):
    X, Y = random_data(700)
    one, many = weights(X, Y, 1, dtype), weights(X, Y, n_threads, dtype)
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)


def test_memory_mapped_files_give_the_same_bits(tmp_path):
    X, Y = random_data(700)
    X = X.astype(np.float32)
    mapped = memory_mapped(tmp_path, X=X, Y=Y)
    for a, b in zip(weights(X, Y), weights(*mapped), strict=True):
        np.testing.assert_array_equal(a, b)


def test_memory_does_not_grow_with_the_samples(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (60_000, 100), dtype=np.uint8)
    Y = one_hot(rng.integers(3, size=60_000), 3)
    X, Y = memory_mapped(tmp_path, X=X, Y=Y)
    solver = MiniBatchThreeSplitting(Problem((100, 20, 3)), batch_size=500)
    solver.fit(X[:600], Y[:600], max_iter=1)  # compiles
    tracemalloc.start()
    solver.fit(X, Y, max_iter=1, callbacks=[Objective()])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # X is 6 MB as it lies in the file, 24 MB in float32; the order of samples takes 0.5 MB.
    assert peak < 8e6


def test_partial_fit_on_the_same_batches_is_step():
    X, Y = random_data()
    solver = MiniBatchThreeSplitting(Problem((12, 20, 4)), batch_size=64)
    whole, parts = solver.init(X, Y, passes=2), solver.init(X, Y, passes=2)
    solver.step(whole)
    for rows in shuffled_batches(len(X), 64, parts.rng):
        solver.partial_fit(parts, X[rows], Y[rows])
    for a, b in zip(whole.weights, parts.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_pass_takes_each_sample_once_in_batches_of_nearly_equal_size():
    batches = list(shuffled_batches(1003, 100, np.random.default_rng(0)))
    assert sorted(np.concatenate(batches)) == list(range(1003))
    assert {len(rows) for rows in batches} <= {91, 92}
    assert len(batches) == 11


def test_a_pickled_state_goes_on_where_it_was():
    X, Y = random_data()
    solver = MiniBatchThreeSplitting(Problem((12, 20, 4)), batch_size=64)
    state = solver.step(solver.init(X, Y, passes=3))
    other, copy = pickle.loads(pickle.dumps((solver, state)))
    solver.step(state)
    other.step(copy)
    for a, b in zip(state.weights, copy.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_averaging_the_last_weights_predict():
    X, Y = random_data()
    solver = MiniBatchThreeSplitting(Problem((12, 20, 4)), batch_size=64, average=0)
    state = solver.step(solver.init(X, Y, passes=3))
    assert state.weights[0] is state.W[1]
    averaging = MiniBatchThreeSplitting(Problem((12, 20, 4)), batch_size=64)
    mean = averaging.step(averaging.init(X, Y, passes=3))
    np.testing.assert_array_equal(mean.W[1], state.W[1])
    assert np.abs(mean.weights[0] - mean.W[1]).max() > 0


def test_a_penalty_pulls_the_linear_fit_where_full_batches_end():
    X, y = load_diabetes(return_X_y=True)
    X, y = X / X.std(axis=0), (y[:, None] - y.mean()) / y.std()
    strength = 0.1
    # rank 0: the proximal step is exact where the metric is a multiple of the identity.
    solver = MiniBatchThreeSplitting(
        Problem((10, 1), weight_penalty=f"l1:{strength}"),
        *(442, 0.3),
        rank=0,
        weight_decay=0,
        average=0,
        dtype="float64",
    )
    result = solver.fit(X, y, max_iter=3000)
    lasso = Lasso(alpha=strength).fit(X, y[:, 0])
    W = result.network.W[0][0, :-1]
    np.testing.assert_allclose(W, lasso.coef_, atol=2e-3)
    assert ((W == 0) == (lasso.coef_ == 0)).all()


@pytest.mark.parametrize("penalty", ["nonnegative", "box:-0.1,0.2"])
def test_weights_stay_in_the_penalty_s_domain(penalty):
    X, Y = random_data()
    solver = MiniBatchThreeSplitting(Problem((12, 20, 4), weight_penalty=penalty), batch_size=64)
    result = solver.fit(X, Y, max_iter=3)
    low, high = (0, np.inf) if penalty == "nonnegative" else (-0.1, 0.2)
    for W in result.network.W:
        assert (W[:, :-1] >= low - 1e-6).all()
        assert (W[:, :-1] <= high + 1e-6).all()


def test_a_rise_of_the_objective_is_no_cause_for_a_warning_here():
    X, Y = random_data(200)
    solver = MiniBatchThreeSplitting(Problem((12, 20, 4)), 20, 3.0, schedule="constant")
    history = solver.fit(X, Y, max_iter=15, callbacks=[Objective()]).history  # warnings are errors
    objective = [record["objective"] for record in history]
    assert any(b > a for a, b in pairwise(objective))


def test_warmup_compiles_what_it_needs():
    assert fastbcd.warmup(MiniBatchThreeSplitting(Problem((12, 20, 4)))) > 0


def test_a_network_of_residual_layers_only():
    X, _ = random_data(d=4)
    solver = MiniBatchThreeSplitting(Problem((4, 4, 4), residual=[True, True], activation="tanh"))
    history = solver.fit(X, X @ np.eye(4)[::-1], max_iter=60, callbacks=[Objective()]).history
    assert history[-1]["objective"] < 0.5 * history[0]["objective"]
