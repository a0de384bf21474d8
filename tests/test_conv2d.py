"""The convolution: its definition, its refusals, and whole runs on images."""

import numpy as np
import pytest
from share import share
from sklearn.datasets import load_digits
from stopping import StopAfter

from fastbcd import (
    InputError,
    MiniBatchThreeSplitting,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    kernels,
    one_hot,
    resume,
)
from fastbcd.callbacks import Certify, SaveCheckpoint
from fastbcd.devices import CPU
from fastbcd.devices.rounded_products import RoundedProducts
from fastbcd.kernels import bf16, elastic_net, l1, none, nonnegative, ridge
from fastbcd.kernels.patches import gather_patches
from fastbcd.layers import Conv2d, Dense, GroupedConv2d
from fastbcd.problem.requirements import check_layers

SHAPES = {
    "plain": ((5, 4, 2), 3, (2, 3), (1, 1), (0, 0)),
    "padded": ((4, 4, 1), 2, (3, 3), (1, 1), (1, 1)),
    "uneven": ((7, 5, 3), 2, (3, 2), (2, 3), (2, 1)),
    "stride larger than kernel": ((8, 9, 2), 4, (2, 1), (3, 4), (0, 2)),
    "padding larger than kernel": ((3, 2, 2), 2, (1, 2), (2, 1), (2, 3)),
    "kernel of the whole image": ((3, 4, 2), 5, (3, 4), (1, 1), (0, 0)),
    "one pixel": ((1, 1, 3), 2, (1, 1), (1, 1), (0, 0)),
    # More positions and channels than a tile of any processor has, with a rest; and a half tile.
    "several tiles": ((3, 13, 2), 42, (2, 3), (1, 1), (0, 0)),
    "half a tile": ((4, 5, 1), 17, (3, 3), (1, 1), (1, 1)),
    # Groups of several images with one incomplete; half a vector of channels, or more than one.
    "groups": ((6, 5, 8), 40, (3, 3), (1, 1), (1, 1)),
    "few channels": ((5, 5, 20), 4, (3, 2), (1, 1), (2, 0)),
}


def by_loops(layer, V, W):
    """``U[y, x, o]`` by its definition, one multiplication after the other."""
    height, width, C = layer.image
    (k_y, k_x), (s_y, s_x), (p_y, p_x) = layer.kernel, layer.stride, layer.padding
    images, weights = V.reshape(-1, height, width, C), W[:, :-1].reshape(-1, k_y, k_x, C)
    U = np.zeros((len(V), *layer.image_out))
    for n, y, x, o in np.ndindex(U.shape):
        total = W[o, -1]
        for i, j, c in np.ndindex(k_y, k_x, C):
            row, column = y * s_y + i - p_y, x * s_x + j - p_x
            if 0 <= row < height and 0 <= column < width:
                total += weights[o, i, j, c] * images[n, row, column, c]
        U[n, y, x, o] = total
    return U.reshape(len(V), -1)


def operator_of(layer, rng, dtype="float64"):
    W = layer.initial_weights(rng, 0.5, 0.0, np.dtype(dtype))
    W[:, -1] = rng.standard_normal(len(W))
    return W, layer.on(CPU(1), W)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_operator_is_the_loop_and_the_adjoint_its_transpose(shape, dtype):
    layer, rng = Conv2d(*SHAPES[shape]), np.random.default_rng(0)
    W, operator = operator_of(layer, rng, dtype)
    V = rng.standard_normal((6, layer.d_in)).astype(dtype)
    U = np.empty((6, layer.d_out), dtype)
    operator.apply(U, V)
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(U, by_loops(layer, V, W), rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        layer.linear_part(V, W) + np.tile(W[:, -1], layer.d_out // len(W)), U, atol=tolerance
    )
    # The matrix of A, column by column.
    A, units = np.empty((layer.d_in, layer.d_out), dtype), np.eye(layer.d_in, dtype=dtype)
    operator.apply_linear(A, units)
    R, back = rng.standard_normal((6, layer.d_out)).astype(dtype), np.ones((6, layer.d_in), dtype)
    operator.adjoint(back, R)
    np.testing.assert_allclose(back, R @ A.T, rtol=0, atol=10 * tolerance)
    assert np.linalg.norm(A, 2) ** 2 <= operator.squared_norm_bound() * (1 + tolerance)
    from_matrix = np.sqrt((A.astype(np.float64) ** 2).sum() / layer.d_in)
    assert layer.gain(CPU(1).kernels, W) == pytest.approx(from_matrix, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_the_sum_over_all_patches(shape, dtype):
    layer, rng = Conv2d(*SHAPES[shape]), np.random.default_rng(0)
    V = rng.standard_normal((7, layer.d_in)).astype(dtype)
    D = rng.standard_normal((7, layer.d_out)).astype(dtype)
    patches = np.empty((7 * layer.shapes.n_positions, layer.shapes.patch), dtype)
    gather_patches(patches, V, layer.shapes.window)
    slopes = D.reshape(len(patches), -1).astype(np.float64)
    old = rng.standard_normal(layer.weight_shape).astype(dtype)
    expected = 2 * slopes.T @ np.hstack([patches, np.ones((len(patches), 1))]) + 0.5 * old
    # Rows need not follow one another.
    wide = np.hstack([V, np.ones((7, 3), dtype)])[:, :-3]
    for images in (V, wide):
        found = old.copy()
        layer.batch_gradient(CPU(1).kernels, found, D, np.hstack([images, V[:, :1]]), 2.0, 0.5)
        tolerance = {"float32": 1e-4, "float64": 1e-12}[dtype]
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("library", ["float32", "bf16"])
def test_long_sums_of_a_gradient_lose_few_digits(library):
    if library == "bf16" and not bf16.AVAILABLE:
        pytest.skip("the processor has no AVX512-BF16, or nothing is compiled")
    kernels_of = RoundedProducts() if library == "bf16" else CPU(1).kernels
    layer, m = Conv2d((32, 32, 2), 2, 1), 500
    V = np.full((m, layer.d_in + 1), 255 / 256, np.float32)  # a number of 8 digits
    D, N = np.ones((m, layer.d_out), np.float32), np.empty((2, 3), np.float32)
    layer.batch_gradient(kernels_of, N, D, V, 1.0, 0.0)
    assert np.abs(N[:, :2] / (m * 1024 * 255 / 256) - 1).max() < 2e-5


def test_kernels_take_no_images_at_all():
    layer, W = Conv2d((4, 4, 2), 2, 2), np.ones((2, 8), np.float32)
    window, transposed = layer.shapes.window, kernels.transposed_weights(W, layer.shapes.window)
    for library in (kernels, RoundedProducts() if bf16.AVAILABLE else kernels):
        # Strides of NumPy's own, and those of a part of a matrix.
        for V in (np.empty((0, 32), np.float32), np.empty((5, 40), np.float32)[:0, :32]):
            D, N = np.empty((9, 3), np.float32)[:0, :2], np.full((2, 9), np.nan, np.float32)
            library.convolve(D, V, W, None, window)
            library.convolve_transposed(
                V, np.empty((0, 18), np.float32), transposed, window, 1.0, 0.0
            )
            library.convolution_gradient(N, D, V, window, 1.0, 0.0)
            assert not N.any()


def test_the_operator_is_that_of_scipy():
    signal = pytest.importorskip("scipy.signal")
    layer, rng = Conv2d((9, 7, 1), 2, (3, 4)), np.random.default_rng(1)
    W, operator = operator_of(layer, rng)
    V, U = rng.standard_normal((3, layer.d_in)), np.empty((3, layer.d_out))
    operator.apply(U, V)
    for n, o in np.ndindex(3, 2):
        kernel = W[o, :-1].reshape(3, 4)
        expected = signal.correlate2d(V[n].reshape(9, 7), kernel, mode="valid") + W[o, -1]
        np.testing.assert_allclose(U[n].reshape(layer.image_out)[..., o], expected, atol=1e-12)


def test_results_do_not_depend_on_the_images_that_share_a_product():
    """In float64 the products of a group and of one image differ by rounding only."""
    layer, rng = Conv2d((30, 30, 4), 3, 5, stride=2, padding=1), np.random.default_rng(2)
    _, operator = operator_of(layer, rng)
    V = rng.standard_normal((50, layer.d_in))  # several groups
    U, R = np.empty((2, 50, layer.d_out))
    back, one = np.empty((2, 50, layer.d_in))
    operator.apply(U, V)
    operator.adjoint(back, U)
    for n in range(50):
        operator.apply(R[n : n + 1], V[n : n + 1])
        operator.adjoint(one[n : n + 1], U[n : n + 1])
    np.testing.assert_allclose(R, U, atol=1e-11)
    np.testing.assert_allclose(one, back, atol=1e-10)


@pytest.mark.parametrize(
    "penalty", [none(), ridge(0.5), l1(0.3), nonnegative(), elastic_net(0.4, 0.5)], ids=str
)
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_few_steps_give_the_decrease_that_the_theorem_needs(penalty, columns, steps):
    layer = Conv2d((6, 5, 2), 3, 3, stride=(1, 2), padding=1, steps=steps)
    rng, device, rho = np.random.default_rng(3), CPU(1), 0.8
    kappa = 1.3 * (1.0 + (np.arange(layer.d_in) < 7)) if columns else 1.3
    W, operator = operator_of(layer, rng)
    V, C, U = (
        np.abs(rng.standard_normal((9, layer.d_in))),
        rng.standard_normal((9, layer.d_in)),
        rng.standard_normal((9, layer.d_out)),
    )
    block = layer.state_block(device, W, penalty, kappa, rho, measured=True)

    def f(V):
        linear = np.empty_like(U)
        operator.apply(linear, V)
        terms = np.vectorize(penalty.value)(V) + kappa / 2 * (V - C) ** 2
        return terms.sum(axis=1) + rho / 2 * ((U - linear) ** 2).sum(axis=1)

    old, decrease = V.copy(), np.zeros(2)

    def solve(tile):
        center = block.center(tile, V)
        center[:] = block.scale * C
        block.solve(tile, V, center, U, decrease)

    device.for_each_tile(len(V), (layer.d_in,), "float64", solve)
    fallen, moved = f(old) - f(V), ((V - old) ** 2).sum(axis=1)
    assert (moved > 0).all()
    assert (fallen >= (1 - 1e-12) * 1.3 / 2 * moved).all()
    np.testing.assert_allclose(decrease, [fallen.sum(), moved.sum()], rtol=1e-10)


def images(n=1000):
    X, y = load_digits(return_X_y=True)
    return X[:n] / 16, one_hot(y[:n])


def problem_of_images(activation="relu", residual=False, **more):
    """A network for images of 8 x 8; its second layer may be residual."""
    first = Conv2d((8, 8, 1), 4, 3, stride=2, padding=1)
    second = Conv2d(first.image_out, 4, 3, padding=1)
    layers = (first, second, Dense(second.d_out, 32), Dense(32, 10))
    widths = (64, first.d_out, second.d_out, 32, 10)
    return Problem(widths, activation, residual=residual, layers=layers, **more)


RUNS = {
    "Algorithm 2": (ThreeSplitting, {}),
    "Algorithm 3": (ThreeSplitting, {"residual": True}),
    "Algorithm 1": (TwoSplitting, {}),
    "cross-entropy": (ThreeSplitting, {"loss": "cross_entropy", "weight_penalty": "l1:1e-4"}),
    "nonnegative states": (ThreeSplitting, {"state_penalty": "nonnegative"}),
}


@pytest.mark.parametrize("acceleration", [None, "nesterov"])
@pytest.mark.parametrize("run", share(RUNS, at_most=2))
def test_the_certificate_holds_on_images_in_float32(run, acceleration):
    kind, settings = RUNS[run]
    solver = kind(problem_of_images(**settings), alpha=1e-2, acceleration=acceleration)
    certificate = solver.fit(*images(), max_iter=20, callbacks=[Certify(every=5)]).certificate
    assert certificate.descended
    assert certificate.decreased_sufficiently
    assert certificate.tracking_error < 1e-4, str(certificate)
    assert certificate.tracked < 0.5 * certificate.start


@pytest.mark.parametrize("kind", [ThreeSplitting, TwoSplitting, MiniBatchThreeSplitting])
def test_any_number_of_threads_gives_the_same_bits(kind):
    X, Y = images(600)
    weight = np.random.default_rng(4).random(600)
    found = [
        kind(problem_of_images(), n_threads=n, tile_rows=100)
        .fit(X, Y, max_iter=3, sample_weight=weight)
        .network.W
        for n in (1, 3)
    ]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", [ThreeSplitting, TwoSplitting, MiniBatchThreeSplitting])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(kind, tmp_path):
    X, Y = images(200)
    whole = kind(problem_of_images()).fit(X, Y, max_iter=5).network.W
    path = tmp_path / "checkpoint"
    callbacks = [StopAfter(2), SaveCheckpoint(path)]
    kind(problem_of_images()).fit(X, Y, max_iter=5, callbacks=callbacks)
    resumed = resume(path, kind(problem_of_images()), X, Y).network.W
    for one, other in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(one, other)
    first, *others = problem_of_images().layers
    more = (Conv2d(first.image, 4, 3, 2, 1, steps=5), *others)
    other = Problem(problem_of_images().widths, layers=more)
    with pytest.raises(InputError, match="layers"):
        resume(path, kind(other), X, Y)


def test_a_sample_of_weight_2_counts_twice():
    X, Y = images(60)
    weight = np.random.default_rng(5).integers(0, 3, 60)
    solver = ThreeSplitting(problem_of_images(), dtype="float64")
    weighted = solver.fit(X, Y, max_iter=4, sample_weight=weight).network.W
    copies = np.repeat(np.arange(60), weight)
    repeated = solver.fit(X[copies], Y[copies], max_iter=4).network.W
    for one, other in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


def test_mini_batches_learn_images():
    X, Y = images(1500)
    first = Conv2d((8, 8, 1), 16, 3, padding=1)
    second = Conv2d(first.image_out, 32, 3, stride=2, padding=1)
    layers = (first, second, Dense(second.d_out, 64), Dense(64, 10))
    problem = Problem((64, first.d_out, second.d_out, 64, 10), layers=layers)
    result = MiniBatchThreeSplitting(problem).fit(X[:1200], Y[:1200], max_iter=15)
    outputs = result.network.forward(X[1200:])
    assert np.mean(outputs.argmax(axis=1) == Y[1200:].argmax(axis=1)) > 0.9


def test_initial_weights_have_the_deviation_of_their_patches():
    state = ThreeSplitting(problem_of_images()).init(*images(50))
    layer = Conv2d((30, 30, 16), 200, 5)
    W = ThreeSplitting(Problem((layer.d_in, layer.d_out), layers=[layer])).init(
        np.zeros((1, layer.d_in)), np.zeros((1, layer.d_out))
    )
    assert np.std(W.W[1][:, :-1]) == pytest.approx(np.sqrt(2 / 400), rel=0.02)
    assert (state.W[1][:, -1] == 0).all()


REFUSED = {
    r"a kernel of 5 x 5 is larger than an image of 4 x 9 with padding 0 x 1": {
        "image": (4, 9, 1),
        "kernel": 5,
        "padding": (0, 1),
    },
    r"image \(3, 32, 32\) seems to have its channels first": {"image": (3, 32, 32), "kernel": 3},
    r"Conv2d: image must be \(height, width, channels\), got \(28, 28\)": {
        "image": (28, 28),
        "kernel": 3,
    },
    r"Conv2d: stride must be an integer of at least 1, got 0": {
        "image": (8, 8, 1),
        "kernel": 3,
        "stride": 0,
    },
    r"Conv2d: kernel must be a number or a pair, got \(1, 2, 3\)": {
        "image": (8, 8, 1),
        "kernel": (1, 2, 3),
    },
    r"Conv2d: channels must be an integer of at least 1, got 2.5": {
        "image": (8, 8, 1),
        "channels": 2.5,
        "kernel": 3,
    },
    r"Conv2d: padding must be an integer of at least 0, got -1": {
        "image": (8, 8, 1),
        "kernel": 3,
        "padding": -1,
    },
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_wrong_number_is_named(message):
    with pytest.raises(InputError, match=message):
        Conv2d(**{"channels": 4, **REFUSED[message]})


def test_a_gpu_is_refused_before_any_work():
    class GPU:
        name = "cuda"

    grouped = GroupedConv2d((4, 4, 2), 2, 3, groups=2)
    layers = [grouped, Dense(grouped.d_out, 3)]
    with pytest.raises(InputError, match=r"GroupedConv2d.*runs on the processor only"):
        check_layers(Problem((32, grouped.d_out, 3), layers=layers), GPU())
    check_layers(problem_of_images(), GPU())


def test_equal_pairs_are_the_same_layer():
    assert Conv2d((8, 8, 1), 4, 3, 2, 1) == Conv2d([8, 8, 1], 4, (3, 3), (2, 2), (1, 1))
    assert hash(Conv2d((8, 8, 1), 4, 3)) == hash(Conv2d((8, 8, 1), 4, (3, 3)))


@pytest.mark.parametrize("kind", [ThreeSplitting, MiniBatchThreeSplitting])
def test_a_run_out_of_core_has_the_weights_of_one_in_memory(kind, tmp_path):
    X, Y = images(400)
    inside = kind(problem_of_images(), n_threads=1, tile_rows=100)
    outside = kind(problem_of_images(), n_threads=1, tile_rows=100, memory="4GiB", folder=tmp_path)
    W, V = (solver.fit(X, Y, max_iter=2).network.W for solver in (inside, outside))
    for one, other in zip(W, V, strict=True):
        np.testing.assert_array_equal(one, other)


def test_sums_that_keep_nothing_do_not_read_what_was_there():
    layer, nan = Conv2d((6, 6, 2), 3, 3), np.nan
    V, D, W = np.ones((2, 73)), np.ones((2, layer.d_out)), np.ones(layer.weight_shape)
    sketch, gradient, below = np.full((19, 4), nan), np.full((3, 19), nan), np.full((2, 72), nan)
    kernels = CPU(1).kernels
    layer.batch_sketch(kernels, sketch, V, np.ones((19, 4)), None, 1.0, 0.0)
    layer.batch_gradient(kernels, gradient, D, V, 1.0, 0.0)
    layer.batch_adjoint(kernels, below, D, V, W, 1.0, 0.0)
    assert all(np.isfinite(A).all() for A in (sketch, gradient, below))
