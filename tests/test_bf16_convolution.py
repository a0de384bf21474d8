"""``precision="bf16"`` on the processor with convolutions: their three products, and networks."""

import numpy as np
import pytest
from bfloat16 import count_calls, rounded
from sklearn.datasets import load_digits

from fastbcd import MiniBatchThreeSplitting, Problem, kernels, one_hot, warmup
from fastbcd.devices.rounded_products import RoundedProducts
from fastbcd.kernels import bf16, bf16_convolution
from fastbcd.layers import Conv2d, build_layers

pytestmark = pytest.mark.skipif(
    not bf16.AVAILABLE, reason="the processor has no AVX512-BF16, or nothing is compiled"
)
NAMES = ["convolve", "convolve_transposed", "convolution_gradient"]
SHAPES = {
    "padded": ((6, 5, 8), 40, (3, 3), (1, 1), (1, 1)),
    "uneven": ((7, 5, 6), 42, (3, 2), (2, 3), (2, 1)),
    "stride larger than kernel": ((8, 9, 2), 4, (2, 1), (3, 4), (0, 2)),
    "kernel of the whole image": ((3, 4, 2), 6, (3, 4), (1, 1), (0, 0)),
    "one position, stride larger than kernel": ((2, 2, 64), 66, (1, 1), (2, 2), (0, 0)),
    "one pixel": ((1, 1, 34), 70, (1, 1), (1, 1), (0, 0)),
    "lines of many pixels": ((3, 40, 16), 64, (3, 3), (1, 1), (1, 1)),
}


def arrays(shape, m=7):
    layer, rng = Conv2d(*SHAPES[shape]), np.random.default_rng(0)
    window, positions = layer.shapes.window, m * layer.shapes.n_positions

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    # Rows of images, slopes and weights that are parts of larger arrays.
    V, W = normal(m, layer.d_in + 3)[:, :-3], normal(*layer.weight_shape)
    D = normal(positions, layer.channels + 1)[:, :-1]
    return layer, window, V, D, W


def compare(found, old, expected, size):
    """``found = 1.5 expected - 0.5 old`` up to rounding of sums, `size` being their magnitude."""
    error = np.abs(found - (1.5 * expected - 0.5 * old))
    assert (error <= 2e-6 * (1.5 * size + np.abs(old))).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_each_product_is_that_of_the_rounded_factors(shape):
    layer, window, V, D, W = arrays(shape)
    exact, U = kernels, np.full((len(D), layer.channels), np.nan, np.float32)
    v, d, w, bias = rounded(V), rounded(D), rounded(W[:, :-1]), W[:, -1].astype(float)

    def apply(V, W, bias):
        out = np.empty(U.shape)
        exact.convolve(out, V, W, bias, window)
        return out

    bf16_convolution.convolve(U, V, W[:, :-1], W[:, -1].copy(), window)
    size = apply(np.abs(v), np.abs(w), np.abs(bias))
    assert (np.abs(U - apply(v, w, bias)) <= 2e-6 * size).all()

    def adjoint(R, W):
        out = np.empty(V.shape)
        exact.convolve_transposed(out, R, exact.transposed_weights(W, window), window, 1.0, 0.0)
        return out

    old = V.copy()
    R, transposed = np.ascontiguousarray(D), exact.transposed_weights(W[:, :-1], window)
    R, r = R.reshape(len(V), -1), rounded(R).reshape(len(V), -1)
    bf16_convolution.convolve_transposed(V, R, transposed, window, 1.5, -0.5)
    compare(V, old, adjoint(r, w), adjoint(np.abs(r), np.abs(w)))

    def gradient(D, V):
        out = np.empty(W.shape)
        exact.convolution_gradient(out, D, V, window, 1.0, 0.0)
        return out

    found = W.copy()
    bf16_convolution.convolution_gradient(found, D, old, window, 1.5, -0.5)
    compare(found, W, gradient(d, v), gradient(np.abs(d), np.abs(v)))


def test_what_is_not_kept_is_not_read():
    _, window, V, D, W = arrays("uneven")
    transposed, nan = kernels.transposed_weights(W[:, :-1], window), np.float32(np.nan)
    below, gradient = np.full(V.shape, nan), np.full(W.shape, nan)
    R = np.ascontiguousarray(D).reshape(len(V), -1)
    bf16_convolution.convolve_transposed(below, R, transposed, window, 1.0, 0.0)
    bf16_convolution.convolution_gradient(gradient, D, V, window, 1.0, 0.0)
    assert np.isfinite(below).all()
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("channels", [(3, 4, True), (4, 3, True), (4, 6, False)])
def test_odd_numbers_of_channels_are_multiplied_in_float32(channels):
    *sizes, same = channels
    layer, rng = Conv2d((5, 4, sizes[0]), sizes[1], 3), np.random.default_rng(1)
    W, V = rng.standard_normal(layer.weight_shape), rng.standard_normal((6, layer.d_in + 1))
    W, V = W.astype(np.float32), V.astype(np.float32)
    found = []
    for library in (kernels, RoundedProducts()):
        U, below = np.empty((6, layer.d_out), np.float32), np.empty((6, layer.d_in), np.float32)
        layer.batch_apply(library, U, V, W)
        layer.batch_adjoint(library, below, V[:, : layer.d_out].copy(), V, W, 1.0, 0.0)
        gradient = np.empty_like(W)
        layer.batch_gradient(library, gradient, V[:, : layer.d_out].copy(), V, 1.0, 0.0)
        found.append((U, below, gradient))
    for exact, ours in zip(*found, strict=True):
        assert np.array_equal(exact, ours) == same


def fitted(precision, threads=1, text="conv:16:3,maxpool:2,conv:24:2,dense:64", **options):
    digits = load_digits()
    X, Y = digits.data.astype(np.float32) / 16, one_hot(digits.target, 10)
    problem = Problem(layers=build_layers(text, (8, 8, 1), 10))
    solver = MiniBatchThreeSplitting(
        problem, 100, precision=precision, n_threads=threads, tile_rows=50, **options
    )
    return solver, X, Y


@pytest.fixture
def called(monkeypatch):
    """How often each product was called."""
    return count_calls(monkeypatch, bf16_convolution, NAMES)


def test_networks_learn_as_in_float32_with_the_same_bits_on_any_number_of_threads(called):
    weights, accuracy = [], []
    for precision, threads in (("bf16", 1), ("bf16", 2), ("float32", 1)):
        solver, X, Y = fitted(precision, threads)
        result = solver.fit(X[:1400], Y[:1400], max_iter=4)
        weights.append(result.state.W[1:])
        network = result.network
        accuracy.append((network.forward(X[1400:]).argmax(1) == Y[1400:].argmax(1)).mean())
    for one, two in zip(*weights[:2], strict=True):
        np.testing.assert_array_equal(one, two)
    # The first layer sees one channel. The layers above it change.
    assert not np.array_equal(weights[0][2], weights[2][2])
    assert accuracy[0] > accuracy[2] - 0.02
    assert all(called.values())


def test_warmup_compiles_these_products(called):
    warmup(fitted("bf16")[0])
    assert all(called.values())
