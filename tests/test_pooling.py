"""Pooling: its definition, its exact blocks, its subgradient, and whole runs on images."""

from itertools import combinations

import numpy as np
import pytest
from share import share
from sklearn.datasets import load_digits
from test_layers import assert_the_subgradient_is_the_gradient

from fastbcd import (
    InputError,
    MiniBatchThreeSplitting,
    Network,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    kernels,
    one_hot,
    warmup,
)
from fastbcd.callbacks import Certify
from fastbcd.devices import CPU
from fastbcd.kernels import box, elastic_net, l1, none, nonnegative, ridge
from fastbcd.layers import AveragePool2d, Conv2d, Dense, MaxPool2d

M = 40
PENALTIES = [none(), ridge(0.7), l1(0.4), elastic_net(0.6, 0.5), nonnegative(), box(-0.3, 0.8)]
SHAPES = {
    "squares": ((4, 6, 2), (2, 2)),
    "lines": ((3, 4, 3), (3, 2)),
    "whole image": ((2, 3, 2), (2, 3)),
    "one pixel": ((2, 2, 3), (1, 1)),
}
KINDS = {"mean": AveragePool2d, "maximum": MaxPool2d}


def windows(layer, V):
    """The numbers of each window as the last axis, by loops: (m, d_out, q)."""
    (h, w), (rows, columns, channels) = layer.window, layer.image_out
    images = V.reshape(len(V), *layer.image)
    found = np.empty((len(V), rows, columns, channels, h * w), V.dtype)
    for y, x, c in np.ndindex(rows, columns, channels):
        part = images[:, y * h : (y + 1) * h, x * w : (x + 1) * w, c]
        found[:, y, x, c] = part.reshape(len(V), -1)
    return found.reshape(len(V), layer.d_out, h * w)


def columns_of(layer):
    """(d_out, q): the columns of V that make each column of U."""
    return windows(layer, np.arange(layer.d_in, dtype=float)[None])[0].astype(int)


def pooled(kind, v):
    return v.mean(axis=-1) if kind == "mean" else v.max(axis=-1)


# Vectors of channels, half a vector, and single channels, for numbers of either size.
CHANNELS = {"vectors of channels": ((2, 4, 27), (2, 2)), "half a vector": ((3, 3, 13), (3, 1))}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES | CHANNELS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_operator_is_the_loop_in_all_its_forms(kind, shape, dtype):
    layer, rng = KINDS[kind](*(SHAPES | CHANNELS)[shape]), np.random.default_rng(0)
    V = rng.integers(-3, 4, (M, layer.d_in)).astype(dtype)
    expected = pooled(kind, windows(layer, V.astype(float)))
    W, U = np.empty((0, 0), dtype), np.empty((M, layer.d_out), dtype)
    layer.on(CPU(1), W).apply(U, V)
    np.testing.assert_allclose(U, expected, rtol=1e-6)
    ones = np.ones((M, 1), dtype)
    layer.batch_apply(kernels, U, np.hstack([V, ones]), W)
    np.testing.assert_allclose(U, expected, rtol=1e-6)
    np.testing.assert_allclose(layer.linear_part(V, W), expected, rtol=1e-6)
    # The adjoint gives each number its share: the first maximum, where several are the largest.
    R, D = rng.standard_normal(U.shape).astype(dtype), np.ones_like(V)
    layer.batch_adjoint(kernels, D, R, np.hstack([V, ones]), W, 2.0, 0.5)
    back = np.full(V.shape, 0.5)
    q = layer.d_in // layer.d_out
    for k, columns in enumerate(columns_of(layer)):
        if kind == "mean":
            back[:, columns] += 2.0 * R[:, [k]] / q
        else:
            first = columns[np.argmax(V[:, columns], axis=1)]
            back[np.arange(M), first] += 2.0 * R[:, k]
    np.testing.assert_allclose(D, back, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 27])
def test_not_a_number_is_not_hidden(channels):
    layer = MaxPool2d((2, 2, channels), 2)
    for i, channel in np.ndindex(4, channels):
        V, U = np.arange(4.0 * channels)[None], np.zeros((1, channels))
        V[0, i * channels + channel] = np.nan
        layer.on(CPU(1), np.empty((0, 0))).apply(U, V)
        assert np.isnan(U[0]).nonzero()[0].tolist() == [channel]


@pytest.mark.parametrize("kind", KINDS)
def test_the_gain_is_that_of_random_displacements(kind):
    layer, rng = KINDS[kind]((4, 6, 2), (2, 3)), np.random.default_rng(1)
    R, V = rng.standard_normal((4000, layer.d_out)), rng.standard_normal((4000, layer.d_in))
    D = np.empty_like(V)
    layer.batch_adjoint(kernels, D, R, V, None, 1.0, 0.0)
    assert layer.gain(kernels, None) == pytest.approx(np.sqrt(np.mean(D**2)), rel=0.02)


def solved(layer, penalty, V, C, U, kappa, rho, *weight):
    """The state block's V and its decrease."""
    device, new, decrease = CPU(1), V.copy(), np.zeros(2)
    block = layer.state_block(device, None, penalty, kappa, rho)

    def solve(tile):
        center = block.center(tile, new)
        center[:] = block.scale * C
        block.solve(tile, new, center, U, decrease, *weight)

    device.for_each_tile(len(V), (layer.d_in,), V.dtype, solve)
    return new, decrease


def of_window(kind, penalty, v, c, u, kappa, rho):
    """f of the last axis of v."""
    terms = np.vectorize(penalty.value, otypes=[float])(v) + kappa / 2 * (v - c) ** 2
    return terms.sum(axis=-1) + rho / 2 * (u - pooled(kind, v)) ** 2


def best_of_mean(penalty, c, u, kappa, rho):
    """The least f for the mean: bisection for the common force."""
    prox = np.vectorize(penalty.prox, otypes=[float])

    def v_of(force):
        return prox(c + force / kappa, 1 / kappa)

    low, high = -1e3, 1e3
    for _ in range(120):
        force = (low + high) / 2
        if force * len(c) / rho + v_of(force).mean() > u:
            high = force
        else:
            low = force
    return of_window("mean", penalty, v_of(low), c, u, kappa, rho)


def best_of_maximum(penalty, c, u, kappa, rho):
    """The least f for the maximum: any set of numbers may be the largest ones, at any level."""
    prox = np.vectorize(penalty.prox, otypes=[float])
    free, q = prox(c, 1 / kappa), len(c)
    values = [of_window("maximum", penalty, free, c, u, kappa, rho)]
    for size in range(1, q + 1):
        for chosen in map(list, combinations(range(q), size)):
            curvature = kappa[chosen].sum() + rho
            center = ((kappa * c)[chosen].sum() + rho * u) / curvature
            level = penalty.prox(center, size / curvature)
            for t in (level, max(level, free.max())):
                v = free.copy()
                v[chosen] = t
                values.append(of_window("maximum", penalty, v, c, u, kappa, rho))
    return min(values)


@pytest.mark.parametrize("penalty", share(PENALTIES, at_most=2), ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_state_block_is_the_global_minimiser(kind, penalty):
    layer, rng, rho, n = KINDS[kind]((2, 4, 1), 2), np.random.default_rng(2), 0.9, 20
    # Quarters give ties; each window also meets targets far above and far below its numbers.
    C = rng.integers(-4, 5, (n, layer.d_in)) / 4
    U = rng.choice([-4.0, -0.5, 0.1, 0.25, 0.6, 5.0], (n, layer.d_out))
    old = np.vectorize(penalty.prox)(rng.standard_normal(C.shape), 0.0)
    best = best_of_mean if kind == "mean" else best_of_maximum
    for kappa in (np.full(layer.d_in, 1.1), 0.2 + rng.random(layer.d_in)):
        V, decrease = solved(layer, penalty, old, C, U, kappa, rho)
        v, c, before = windows(layer, V), windows(layer, C), windows(layer, old)
        k = windows(layer, kappa[None])[0]
        f = of_window(kind, penalty, v, c, U, k, rho)
        for i, j in np.ndindex(*U.shape):
            least = best(penalty, c[i, j], U[i, j], k[j], rho)
            assert f[i, j] == pytest.approx(least, rel=1e-12, abs=1e-12), (c[i, j], U[i, j])
        for size in (2.0, 0.3, 1e-3):
            for _ in range(30):
                other = v + size * rng.standard_normal(v.shape)
                assert (of_window(kind, penalty, other, c, U, k, rho) >= f - 1e-12).all()
        fallen = of_window(kind, penalty, before, c, U, k, rho).sum() - f.sum()
        assert decrease[0] == pytest.approx(fallen, rel=1e-12)
        assert decrease[1] == pytest.approx(np.sum((V - old) ** 2), rel=1e-12)
    # Weights of samples leave V alone, and weigh the decreases.
    weight = rng.random(n)
    again, weighted = solved(layer, penalty, old, C, U, kappa, rho, weight)
    np.testing.assert_array_equal(again, V)
    fallen = of_window(kind, penalty, before, c, U, k, rho) - f
    assert weighted[0] == pytest.approx(np.sum(weight * fallen.sum(axis=1)), rel=1e-12)
    assert weighted[1] == pytest.approx(np.sum(weight * ((V - old) ** 2).sum(axis=1)), rel=1e-12)


def test_closed_forms_without_penalty():
    C, kappa, rho = np.array([[1.0, 3.0, 3.0, 2.0]]), 2.0, 1.0
    mean, maximum = AveragePool2d((2, 2, 1)), MaxPool2d((2, 2, 1))
    V, _ = solved(mean, none(), C, C, np.array([[7.0]]), kappa, rho)
    np.testing.assert_allclose(V, C + rho / (kappa * 4 + rho) * (7.0 - C.mean()))
    # Above: the first of the largest moves. Below: those that are larger than t sink to t.
    V, _ = solved(maximum, none(), C, C, np.array([[6.0]]), kappa, rho)
    np.testing.assert_allclose(V, [[1.0, (rho * 6 + kappa * 3) / (rho + kappa), 3.0, 2.0]])
    V, _ = solved(maximum, none(), C, C, np.array([[-8.0]]), kappa, rho)
    np.testing.assert_allclose(V, [[1.0, 8 / 7, 8 / 7, 8 / 7]])


def simplex(n, steps=40):
    """Points of the unit simplex on a grid, for n from 1 to 3."""
    if n == 1:
        return np.ones((1, 1))
    line = np.linspace(0, 1, steps * steps + 1 if n == 2 else steps + 1)
    if n == 2:
        return np.c_[line, 1 - line]
    return np.array([(a, b, 1 - a - b) for a in line for b in line if a + b <= 1 + 1e-12])


@pytest.mark.parametrize("penalty", [none(), l1(0.4), box(-0.3, 0.8)], ids=str)
def test_the_subgradient_below_a_maximum_is_the_nearest_to_0(penalty):
    layer, rng, counts = MaxPool2d((1, 4, 1), (1, 4)), np.random.default_rng(3), set()
    for _ in range(150):
        V = rng.choice([-0.3, 0.0, 0.5, 0.8], (1, 4), p=[0.5, 0.2, 0.2, 0.1])
        tied = np.flatnonzero(V[0] == V[0].max())
        if len(tied) > 3:
            continue
        counts.add(len(tied))
        G, R = rng.standard_normal((1, 4)), rng.choice([-2.0, -0.5, 0.0, 0.5, 2.0], (1, 1))
        found = kernels.subgradient_below_maximum(penalty, V, G, R, layer.shapes.window)
        low, high = np.array([penalty.subdifferential(v) for v in V[0]]).T

        def square(w, G=G, R=R, tied=tied, low=low, high=high):
            g = G[0].copy()
            g[tied] -= R[0, 0] * w
            return np.sum(np.maximum(np.maximum(g + low, -(g + high)), 0.0) ** 2)

        weights = np.eye(len(tied)) if R[0, 0] > 0 else simplex(len(tied))
        least = min(map(square, weights))
        assert least - (1e-12 if R[0, 0] > 0 else 0.05) <= found <= least + 1e-12
    assert counts == {1, 2, 3}


def images(n):
    X, y = load_digits(return_X_y=True)
    return X[:n] / 16, one_hot(y[:n])


def problem_of_images(channels=4, **more):
    """Convolution, maximum, convolution, mean, dense, for images of 8 x 8."""
    first = Conv2d((8, 8, 1), channels, 3, padding=1)
    maximum = MaxPool2d(first.image_out, 2)
    second = Conv2d(maximum.image_out, 2 * channels, 3, padding=1)
    mean = AveragePool2d(second.image_out, (2, 4))
    layers = (first, maximum, second, mean, Dense(mean.d_out, 10))
    return Problem((64, *(layer.d_out for layer in layers)), layers=layers, **more)


RUNS = {
    "Algorithm 1": (TwoSplitting, {}),
    "Algorithm 2": (ThreeSplitting, {}),
    "Algorithm 3": (ThreeSplitting, {"residual": (False, True, False, True, False)}),
    "nonnegative states": (ThreeSplitting, {"state_penalty": "nonnegative"}),
    "sparse states": (TwoSplitting, {"state_penalty": "l1:1e-2"}),
}


@pytest.mark.parametrize("acceleration", [None, "nesterov"])
@pytest.mark.parametrize("run", share(RUNS, at_most=2))
def test_the_certificate_holds_on_images_in_float32(run, acceleration):
    kind, settings = RUNS[run]
    solver = kind(problem_of_images(**settings), alpha=1e-2, acceleration=acceleration)
    certificate = solver.fit(*images(200), max_iter=25, callbacks=[Certify(every=5)]).certificate
    assert certificate.descended
    assert certificate.decreased_sufficiently
    assert certificate.tracking_error < 1e-4, str(certificate)
    assert certificate.tracked < 0.5 * certificate.start


@pytest.mark.parametrize("kind", [ThreeSplitting, TwoSplitting])
def test_the_subgradient_is_the_gradient_where_no_numbers_are_tied(kind):
    first, maximum = Conv2d((2, 3, 1), 2, 2, padding=(0, 1)), MaxPool2d((1, 4, 2), (1, 2))
    mean = AveragePool2d(maximum.image_out, "global")
    layers = (first, maximum, mean, Dense(2, 3))
    problem = Problem((6, *(layer.d_out for layer in layers)), "softplus", layers=layers)
    rng = np.random.default_rng(5)
    solver = kind(problem, dtype="float64")
    state = solver.init(rng.standard_normal((M, 6)), one_hot(rng.integers(0, 3, M), 3))
    for array in (*state.V[1:], *state.U[1:]):
        if array is not None:
            array += 0.3 * rng.standard_normal(array.shape)
    if kind is ThreeSplitting:
        assert_the_subgradient_is_the_gradient(solver, state)
    outputs = Network(state.W[1:], problem.activations, problem.residual, layers).forward(state.X)
    solver.forward(state)
    np.testing.assert_allclose(state.V[-1], outputs, atol=1e-12)


@pytest.mark.parametrize("kind", [ThreeSplitting, TwoSplitting])
def test_a_sample_of_weight_2_counts_twice(kind):
    X, Y = images(40)
    weight = np.random.default_rng(6).integers(0, 3, 40)
    solver = kind(problem_of_images(), dtype="float64")
    weighted = solver.fit(X, Y, max_iter=3, sample_weight=weight).network.W
    copies = np.repeat(np.arange(40), weight)
    repeated = solver.fit(X[copies], Y[copies], max_iter=3).network.W
    for one, other in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


def test_mini_batches_learn_and_small_updates_follow_the_gradient():
    X, Y = images(1500)
    result = MiniBatchThreeSplitting(problem_of_images(8)).fit(X[:1200], Y[:1200], max_iter=25)
    outputs = result.network.forward(X[1200:])
    assert np.mean(outputs.argmax(axis=1) == Y[1200:].argmax(axis=1)) > 0.5
    # A kink of ReLU has no gradient.
    problem = problem_of_images(activation="tanh")
    solver = MiniBatchThreeSplitting(problem, dtype="float64", displacement=1e-6, batch_size=M)
    before, state = solver.init(X[:M], Y[:M]), solver.init(X[:M], Y[:M])
    W = [w.copy() for w in before.W[1:]]
    batch = solver.step(state).cache.batches[M]
    N = np.zeros_like(W[0])
    problem.layers[0].batch_gradient(kernels, N, batch.D[1], batch.V[0], 1.0, 0.0)

    def loss(step):
        moved = Network([W[0] + step, *W[1:]], problem.activations, problem.residual, layers)
        return kernels.loss_sum(problem.loss, moved.forward(X[:M]), np.ascontiguousarray(Y[:M]))

    layers, gradient = problem.layers, np.zeros_like(N)
    for index in np.ndindex(N.shape):
        step = np.zeros_like(N)
        step[index] = 1e-6
        gradient[index] = (loss(step) - loss(-step)) / 2e-6
    cosine = -np.sum(N * gradient) / np.linalg.norm(N) / np.linalg.norm(gradient)
    assert cosine > 0.99


def test_a_pool_may_be_the_first_and_the_last_layer():
    X, Y = images(100)
    first = MaxPool2d((8, 8, 1), 2)
    second = Conv2d(first.image_out, 10, 3)
    layers = (first, second, AveragePool2d(second.image_out, "global"))
    problem = Problem((64, 16, second.d_out, 10), layers=layers)
    certificate = (
        TwoSplitting(problem, alpha=1e-2).fit(X, Y, max_iter=4, callbacks=[Certify(every=2)])
    ).certificate
    assert certificate.descended
    assert certificate.tracked < certificate.start
    assert warmup(ThreeSplitting(problem_of_images()), certify=True) > 0.0
    losses = MiniBatchThreeSplitting(problem).fit(X, Y, max_iter=3).state
    assert all(np.isfinite(W).all() for W in losses.W[1:])


def test_a_run_out_of_core_has_the_weights_of_one_in_memory(tmp_path):
    X, Y = images(200)
    inside = TwoSplitting(problem_of_images(), n_threads=1, tile_rows=100)
    outside = TwoSplitting(
        problem_of_images(), n_threads=1, tile_rows=100, memory="4GiB", folder=tmp_path
    )
    W, V = (solver.fit(X, Y, max_iter=2).network.W for solver in (inside, outside))
    for one, other in zip(W, V, strict=True):
        np.testing.assert_array_equal(one, other)


REFUSED = {
    r"^MaxPool2d: windows of 2 x 2 do not fill an image of 7 x 7; choose": lambda: MaxPool2d(
        (7, 7, 3), 2
    ),
    r"^AveragePool2d: windows of 1 x 3 do not fill an image of 4 x 4": lambda: AveragePool2d(
        (4, 4, 1), (1, 3)
    ),
    r"^MaxPool2d: image must be \(height, width, channels\), got \(8, 8\)": lambda: MaxPool2d(
        (8, 8)
    ),
    r"^MaxPool2d: window must be an integer of at least 1, got 0": lambda: MaxPool2d((8, 8, 1), 0),
    r"^MaxPool2d: window must be an integer of at least 1, got 'global'": lambda: MaxPool2d(
        (8, 8, 1), "global"
    ),
    r'^AveragePool2d: window must be a number, a pair or "global", got \'all\'': lambda: (
        AveragePool2d((8, 8, 1), "all")
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_wrong_size_is_named(message):
    with pytest.raises(InputError, match=message):
        REFUSED[message]()


def test_the_activation_of_a_pool_is_linear():
    names = [activation.name for activation in problem_of_images(activation="tanh").activations]
    assert names == ["tanh", "linear", "tanh", "linear", "linear"]
    assert AveragePool2d((8, 6, 3), "global") == AveragePool2d([8, 6, 3], (8, 6))
    assert hash(MaxPool2d((8, 8, 1), 2)) == hash(MaxPool2d((8, 8, 1), (2, 2)))
