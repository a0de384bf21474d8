"""Every layer type is tested: its operator, its blocks, and whole networks in all algorithms."""

import numpy as np
import pytest
from layer_types import Scaling
from share import share

from fastbcd import (
    InputError,
    MiniBatchThreeSplitting,
    Model,
    Network,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    kernels,
    one_hot,
    warmup,
)
from fastbcd.callbacks import Certify
from fastbcd.data import Preprocessing
from fastbcd.devices import CPU
from fastbcd.kernels import l1, linear, none, nonnegative, relu, ridge
from fastbcd.layers import AveragePool2d, Conv2d, Dense, GroupedConv2d, MaxPool2d, Skip
from fastbcd.layers.normal_equations import NormalEquations
from fastbcd.solvers.three_splitting import ThreeSplittingBlocks
from fastbcd.training.descent_log import DescentLog

M = 40
# So many steps make the state block of a convolution a minimiser.
MANY = 3000
LAYERS = {
    "dense": Dense(6, 4),
    "square dense": Dense(5, 5),
    "scaling": Scaling(5, 5, -0.7),
    "conv2d": Conv2d((4, 3, 2), 3, kernel=2, steps=MANY),
    "uneven conv2d": Conv2d((5, 4, 1), 2, (3, 2), stride=(2, 1), padding=(1, 2), steps=MANY),
    "sparse conv2d": Conv2d((5, 6, 2), 2, (1, 2), stride=(2, 3), padding=(0, 1), steps=MANY),
    "grouped conv2d": GroupedConv2d((2, 3, 4), 4, (2, 3), 2, (0, 1), groups=2, steps=MANY),
    "average pool": AveragePool2d((4, 3, 2), (2, 3)),
}
NETWORKS = {
    "dense": ((6, 8, 8, 3), None),
    "scaling": ((6, 8, 8, 3), (Dense(6, 8), Scaling(8, 8, 1.5), Dense(8, 3))),
    "scaling first": ((6, 6, 7, 3), (Scaling(6, 6, 0.5), Dense(6, 7), Dense(7, 3))),
    "conv2d": (
        (6, 12, 12, 3),
        (
            Conv2d((2, 3, 1), 2, kernel=3, padding=1),
            Conv2d((2, 3, 2), 2, kernel=(1, 3), padding=(0, 1)),
            Dense(12, 3),
        ),
    ),
    "grouped conv2d": (
        (6, 6, 6, 3),
        (
            GroupedConv2d((3, 1, 2), 2, kernel=(3, 1), padding=(1, 0), groups=2),
            GroupedConv2d((3, 1, 2), 2, kernel=(3, 1), padding=(1, 0), groups=2),
            Dense(6, 3),
        ),
    ),
    "conv2d and average pool": (
        (6, 12, 12, 6, 3),
        (
            Conv2d((2, 3, 1), 2, kernel=3, padding=1),
            Conv2d((2, 3, 2), 2, kernel=3, padding=1),
            AveragePool2d((2, 3, 2), (2, 1)),
            Dense(6, 3),
        ),
    ),
    "uneven conv2d": (
        (6, 16, 16, 16, 3),
        (
            Conv2d((3, 2, 1), 4, kernel=(2, 1)),
            Conv2d((2, 2, 4), 4, kernel=(2, 3), stride=(2, 2), padding=(1, 2), steps=2),
            Conv2d((2, 2, 4), 4, kernel=2, stride=2, padding=1),
            Dense(16, 3),
        ),
    ),
}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((M, 6))
Y = one_hot(RNG.integers(0, 3, M), 3)


def weights_of(layer, rng):
    return layer.initial_weights(rng, 0.5, 0.3, np.dtype("float64"))


def central_differences(function, A, h=1e-6):
    """The gradient of ``function()`` in the array A, which the function reads."""
    gradient = np.zeros_like(A)
    for index in np.ndindex(A.shape):
        kept = A[index]
        A[index] = kept + h
        above = function()
        A[index] = kept - h
        gradient[index] = (above - function()) / (2 * h)
        A[index] = kept
    return gradient


def assert_the_subgradient_is_the_gradient(solver, state):
    # In the norm dual to that of the steps.
    blocks = [(W, 1.0) for W in state.W[1:]] + [(A, M) for A in (*state.V[1:], *state.U[1:])]
    total = 0.0
    for A, weight in blocks:
        total += weight * np.sum(central_differences(lambda: solver.objective(state), A) ** 2)
    assert solver.squared_subgradient(state) == pytest.approx(total, rel=1e-4)


@pytest.fixture(params=LAYERS)
def layer(request):
    return LAYERS[request.param]


def in_tiles(device, layer, body):
    with device.session():
        device.for_each_tile(M, (layer.d_in, layer.d_out), "float64", body)


def test_the_operator_is_linear_and_the_adjoint_belongs_to_it(layer):
    rng, device = np.random.default_rng(1), CPU(1)
    operator = layer.on(device, weights_of(layer, rng))
    A, B = rng.standard_normal((2, M, layer.d_in))
    R = rng.standard_normal((M, layer.d_out))
    U, at_B, at_sum, linear = np.empty((4, M, layer.d_out))
    with device.session():
        operator.apply(U, A)
        operator.apply(at_B, B)
        operator.apply(at_sum, 2 * A - B)
        operator.apply_linear(linear, A)
        back = np.empty((M, layer.d_in))
        operator.adjoint(back, R)
    np.testing.assert_allclose(at_sum, 2 * U - at_B, atol=1e-12)
    operator.apply(at_B, np.zeros_like(A))
    np.testing.assert_allclose(linear, U - at_B, atol=1e-12)
    assert np.sum(R * linear) == pytest.approx(np.sum(back * A))


def test_mini_batches_apply_the_same_operator(layer):
    rng, device = np.random.default_rng(2), CPU(1)
    W, V = weights_of(layer, rng), np.c_[rng.standard_normal((M, layer.d_in)), np.ones(M)]
    R = rng.standard_normal((M, layer.d_out))
    U, expected = np.empty((2, M, layer.d_out))
    D, back = np.ones((M, layer.d_in)), np.empty((M, layer.d_in))
    with device.session():
        operator = layer.on(device, W)
        operator.apply(expected, V[:, :-1].copy())
        operator.adjoint(back, R)
        layer.batch_apply(device.kernels, U, V, W)
        layer.batch_adjoint(device.kernels, D, R, V, W, 2.0, 0.5)
    np.testing.assert_allclose(U, expected, atol=1e-12)
    np.testing.assert_allclose(D, 2.0 * back + 0.5, atol=1e-12)
    if layer.has_weights:
        N, step = np.ones_like(W), 1e-6 * rng.standard_normal(W.shape)
        layer.batch_gradient(device.kernels, N, R, V, 2.0, 0.5)
        moved = np.empty_like(U)
        layer.batch_apply(device.kernels, moved, V, W + step)
        assert np.sum((N - 0.5) * step) == pytest.approx(2.0 * np.sum(R * (moved - U)), rel=1e-5)
        rows, some = slice(1, len(W)), np.ones_like(W[1:])
        columns = layer.columns(R, rows)
        layer.batch_gradient(device.kernels, some, columns, V, 2.0, 0.5)
        np.testing.assert_allclose(some, N[rows], atol=1e-12)


def test_the_numpy_form_and_the_gain_are_those_of_the_operator(layer):
    rng, device = np.random.default_rng(3), CPU(1)
    W = weights_of(layer, rng)
    V, R = rng.standard_normal((M, layer.d_in)), rng.standard_normal((40_000, layer.d_out))
    U, back = np.empty((M, layer.d_out)), np.empty((len(R), layer.d_in))
    with device.session():
        layer.on(device, W).apply_linear(U, V)
        layer.on(device, W).adjoint(back, R)
        gain = layer.gain(device.kernels, W)
    np.testing.assert_allclose(layer.linear_part(V, W), U, atol=1e-12)
    assert gain == pytest.approx(np.sqrt(np.mean(back**2)), rel=0.03)


def test_a_grouped_convolution_is_one_with_zeros_between_the_groups():
    layer = LAYERS["grouped conv2d"]
    whole = Conv2d(layer.image, 4, (2, 3), 2, (0, 1))
    W, V = weights_of(layer, RNG), RNG.standard_normal((M, layer.d_in))
    full = np.zeros((4, 2, 3, 4))
    full[:2, :, :, :2] = W[:2, :-1].reshape(2, 2, 3, 2)
    full[2:, :, :, 2:] = W[2:, :-1].reshape(2, 2, 3, 2)
    U, expected = np.empty((2, M, layer.d_out))
    with CPU(1).session():
        layer.on(CPU(1), W).apply(U, V)
        whole.on(CPU(1), np.c_[full.reshape(4, -1), W[:, -1]]).apply(expected, V)
    np.testing.assert_allclose(U, expected, atol=1e-12)


@pytest.mark.parametrize(
    "penalty", share([none(), nonnegative(), ridge(0.5), l1(0.3)], at_most=2), ids=str
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("columns", [False, True])
def test_the_state_block_is_the_minimiser_and_knows_its_decrease(layer, penalty, weighted, columns):
    rng, device, kappa, rho = np.random.default_rng(4), CPU(1), 1.3, 0.8
    if columns:
        kappa = kappa * (1.0 + (np.arange(layer.d_in) < 2))
    W, C = weights_of(layer, rng), rng.standard_normal((M, layer.d_in))
    U, V = rng.standard_normal((M, layer.d_out)), np.abs(rng.standard_normal((M, layer.d_in)))
    weight = (rng.random(M),) if weighted else ()
    old, decrease = V.copy(), np.zeros(2)

    def objective(V):
        linear = np.empty_like(U)
        layer.on(device, W).apply(linear, np.ascontiguousarray(V))
        terms = np.vectorize(penalty.value)(V) + kappa / 2 * (V - C) ** 2
        return terms.sum(axis=1) + rho / 2 * ((U - linear) ** 2).sum(axis=1)

    with device.session():
        block = layer.state_block(device, W, penalty, kappa, rho, measured=True)

    def solve(tile):
        center = block.center(tile, V)
        center[:] = block.scale * C
        block.solve(tile, V, center, U, decrease, *weight)

    in_tiles(device, layer, solve)
    least, counts = objective(V), weight[0] if weighted else np.ones(M)
    for size in (1.0, 1e-2, 1e-4):
        for _ in range(20):
            other = V + size * rng.standard_normal(V.shape)
            assert (objective(other) >= least - 1e-9).all()
    assert decrease[0] == pytest.approx(np.sum(counts * (objective(old) - least)), rel=1e-6)
    assert decrease[1] == pytest.approx(np.sum(counts * ((V - old) ** 2).sum(axis=1)))


@pytest.mark.parametrize("penalty", [none(), ridge(0.5), l1(0.3)], ids=str)
def test_the_weight_block_is_the_minimiser_and_knows_its_decrease(layer, penalty):
    if not layer.has_weights:
        return
    rng, device, scale, alpha = np.random.default_rng(5), CPU(1), 0.7, 0.2
    V, U = rng.standard_normal((M, layer.d_in)), rng.standard_normal((M, layer.d_out))
    W = weights_of(layer, rng)
    old, decrease, residual = W.copy(), np.zeros(2), np.empty_like(U)

    def objective(W, alpha=alpha):
        linear = np.empty_like(U)
        layer.on(device, W).apply(linear, V)
        penalties = np.vectorize(penalty.value)(W[:, :-1]).sum()
        fit, step = scale / 2 * np.sum((U - linear) ** 2), alpha / 2 * np.sum((W - old) ** 2)
        return fit + penalties + step

    block = layer.weight_block(device, same_inputs=False)

    def add(tile):
        layer.on(device, old).apply(residual, V)
        block.add(tile, U - residual, V)

    block.start(keep_gram=False)
    in_tiles(device, layer, add)
    with device.session():
        block.solve(W, scale, penalty, alpha, decrease)
    block.finish()
    for size in (1.0, 1e-2, 1e-4):
        for _ in range(20):
            assert objective(W + size * rng.standard_normal(W.shape)) >= objective(W) - 1e-9
    assert decrease[0] == pytest.approx(objective(old, 0.0) - objective(W, 0.0), rel=1e-6)
    assert decrease[1] == pytest.approx(np.sum((W - old) ** 2))


SETTINGS = {
    "plain": {},
    "penalties": {"weight_penalty": "l1:1e-2", "state_penalty": "ridge:1e-2"},
    "residual": {"residual": True},
    "nonsmooth states": {"state_penalty": "nonnegative"},
    "tanh": {"activation": "tanh", "loss": "cross_entropy"},
}
# Skip connections between different widths: S drops the last columns, or adds columns of zeros; or
# between images of different sizes.
SKIPS = {
    "narrower": ((6, 8, 5, 3), None, (False, True, False)),
    "wider": ((6, 5, 8, 3), None, (False, True, False)),
    "everywhere": ((6, 8, 5, 3), None, (True, True, True)),
    "smaller images": (
        None,
        (
            Conv2d((3, 2, 1), 2, kernel=3, padding=1),
            Conv2d((3, 2, 2), 3, kernel=3, stride=2, padding=1),
            Conv2d((2, 1, 3), 2, kernel=(2, 1)),
            Dense(2, 3),
        ),
        True,
    ),
    "larger images and a pool": (
        None,
        (
            Conv2d((3, 2, 1), 2, kernel=(1, 2), padding=(0, 1)),
            MaxPool2d((3, 3, 2), 3),
            Dense(2, 3),
        ),
        (True, True, False),
    ),
}


def problem_with_skips(name, **settings):
    widths, layers, residual = SKIPS[name]
    return Problem(widths, "softplus", layers=layers, residual=residual, **settings)


@pytest.mark.parametrize("kind", [ThreeSplitting, TwoSplitting])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("network", NETWORKS)
def test_the_algorithms_descend_as_promised_and_track_the_objective(network, setting, kind):
    widths, layers = NETWORKS[network]
    if kind is TwoSplitting and setting == "residual":
        return
    problem = Problem(widths, layers=layers, **SETTINGS[setting])
    solver = kind(problem, alpha=0.1, dtype="float64", tile_rows=13)
    result = solver.fit(X, Y, max_iter=6, callbacks=[Certify(every=2)])
    certificate = result.certificate
    assert certificate.descended
    assert certificate.decreased_sufficiently
    assert certificate.tracking_error < 1e-9, str(certificate)
    assert certificate.tracked < 0.9 * certificate.start
    # The forward pass of the network gives the states with which the solver starts.
    state = solver.init(X, Y, seed=3)
    expected = Network(state.W[1:], problem.activations, problem.residual, problem.layers)
    if setting in ("plain", "tanh", "residual"):
        np.testing.assert_allclose(expected.forward(X), state.V[-1], atol=1e-12)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("network", share(NETWORKS, at_most=2))
def test_the_subgradient_is_that_of_the_objective(network, residual):
    widths, layers = NETWORKS[network]
    problem = Problem(widths, "softplus", residual=residual, layers=layers)
    solver = ThreeSplitting(problem, dtype="float64")
    state = solver.step(solver.init(X, Y))
    assert_the_subgradient_is_the_gradient(solver, state)


@pytest.mark.parametrize("setting", ["plain", "residual", "tanh"])
@pytest.mark.parametrize("network", NETWORKS)
def test_mini_batches_learn_and_small_updates_follow_the_gradient(network, setting):
    widths, layers = NETWORKS[network]
    # A patch of zeros would have its pre-activation at the kink of ReLU, where no gradient exists.
    activation = {"activation": "leaky_relu"} if "conv2d" in network else {}
    problem = Problem(widths, layers=layers, **activation | SETTINGS[setting])
    solver = MiniBatchThreeSplitting(problem, dtype="float64", displacement=1e-6, batch_size=M)
    before = solver.init(X, Y, passes=20)
    state = solver.step(solver.init(X, Y, passes=20))
    batch, L = state.cache.batches[M], problem.n_layers
    np.testing.assert_array_equal(batch.V[0][:, :-1], X)  # one batch of all samples, in order

    def loss(W):
        outputs = Network(W, problem.activations, problem.residual, problem.layers).forward(X)
        return kernels.loss_sum(problem.loss, outputs, np.ascontiguousarray(Y))

    for l in range(1, L + 1):
        if not problem.layers[l - 1].has_weights:
            assert state.metrics[l] is None
            continue
        W = [w.copy() for w in before.W[1:]]
        gradient = central_differences(lambda W=W: loss(W), W[l - 1])
        N = np.zeros_like(gradient)
        problem.layers[l - 1].batch_gradient(kernels, N, batch.D[l], batch.V[l - 1], 1.0, 0.0)
        cosine = -np.sum(N * gradient) / np.linalg.norm(N) / np.linalg.norm(gradient)
        assert cosine > 0.99, (l, cosine)
    solver = MiniBatchThreeSplitting(problem, dtype="float64")
    result = solver.fit(X, Y, max_iter=60)
    assert solver.objective(result.state) < 0.9 * solver.objective(before)


def test_independent_steps_of_a_block_may_be_swapped(monkeypatch):
    """The preparation of the V-block and the start of the sums for W share no memory."""
    solver = ThreeSplitting(Problem((6, 9, 8, 7, 3)), alpha=0.1, dtype="float64")
    expected = solver.fit(X, Y, max_iter=5).network.W
    prepare, start = ThreeSplittingBlocks.prepare, NormalEquations.start
    prepared = []

    def later(self):
        prepared.append(self)

    def first_the_sums(self, keep_gram):
        start(self, keep_gram)
        while prepared:
            prepare(prepared.pop())

    monkeypatch.setattr(ThreeSplittingBlocks, "prepare", later)
    monkeypatch.setattr(NormalEquations, "start", first_the_sums)
    swapped = solver.fit(X, Y, max_iter=5).network.W
    for ours, theirs in zip(swapped, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_wrong_layer_is_named():
    with pytest.raises(InputError, match="layers must be 2 for widths"):
        Problem((6, 8, 3), layers=[Dense(6, 3)])
    with pytest.raises(InputError, match="number 1 leads from 6 to 7, but widths from 6 to 8"):
        Problem((6, 8, 3), layers=[Dense(6, 7), Dense(7, 3)])
    wrong = [Conv2d((4, 4, 2), 3, 2), Conv2d((3, 4, 4), 2, 2)], [Dense(6, 8), Dense(7, 3)]
    messages = (
        r"number 2, .*takes images \(3, 4, 4\), but number 1, Conv2d.*makes images \(3, 3, 3\), b",
        r"number 2, .*takes rows of 7, but number 1, Dense\(d_in=6, d_out=8\), makes rows of 8$",
    )
    for layers, message in zip(wrong, messages, strict=True):
        weights = [np.ones(layer.weight_shape) for layer in layers]
        with pytest.raises(InputError, match=message):
            Problem(layers=layers)
        with pytest.raises(InputError, match=message):
            Network(weights, [relu(), linear()], [False, False], layers)
    for nothing in (None, ()):
        with pytest.raises(InputError, match="widths: give the widths of the network, or its"):
            Problem(layers=nothing)
    with pytest.raises(InputError, match="number 2 must be a Layer"):
        Problem(layers=[Dense(3, 2), "dense:2"])
    with pytest.raises(InputError, match="number 1 must be a Layer"):
        Problem((6, 8, 3), layers=["dense", Dense(8, 3)])


def test_files_and_exports_hold_what_they_know(tmp_path):
    widths, layers = NETWORKS["scaling"]
    problem = Problem(widths, layers=layers)
    assert warmup(ThreeSplitting(problem)) > 0.0
    network = ThreeSplitting(problem).fit(X, Y, max_iter=1).network
    with pytest.raises(InputError, match="scaling is not one of this package's types"):
        Model(
            network, classes=[0, 1, 2], preprocessing=Preprocessing(np.zeros(1), np.ones(1))
        ).save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_the_log_has_every_block():
    widths, layers = NETWORKS["scaling"]
    solver = ThreeSplitting(Problem(widths, layers=layers))
    state = solver.init(X, Y)
    state.descent_log = DescentLog()
    solver.step(state)
    assert set(state.descent_log.blocks) == {(kind, l) for kind in "VUW" for l in (1, 2, 3)}


def as_matrix(layer):
    """S of a layer by its definition, pixel by pixel."""
    S = np.eye(layer.d_out, layer.d_in)
    if not hasattr(layer, "image") or layer.image == layer.image_out:
        return S
    S[:] = 0
    shapes, (height, width, channels) = layer.shapes, layer.image
    for row, (y, x, c) in enumerate(np.ndindex(layer.image_out)):
        i = shapes.stride[0] * y - shapes.padding[0] + (shapes.kernel[0] - 1) // 2
        j = shapes.stride[1] * x - shapes.padding[1] + (shapes.kernel[1] - 1) // 2
        if 0 <= i < height and 0 <= j < width and c < channels:
            S[row, (i * width + j) * channels + c] = 1
    return S


SKIPPED = [
    *(Dense(5, 5), Dense(5, 3), Dense(3, 5), Conv2d((4, 3, 2), 2, 3, padding=1)),
    *(Conv2d((5, 4, 2), 3, (3, 2), stride=(2, 1), padding=(1, 2)), Conv2d((6, 5, 3), 2, 4)),
    # No pixel is in the middle of a patch.
    *(AveragePool2d((6, 4, 2), (3, 2)), Conv2d((1, 1, 1), 2, 2, stride=3, padding=2)),
]


@pytest.mark.parametrize("layer", SKIPPED, ids=str)
def test_a_skip_is_its_matrix(layer):
    skip, V, found = layer.skip, RNG.standard_normal((7, layer.d_in)), []
    device, sizes = CPU(1), (layer.d_in, layer.d_out)
    device.for_each_tile(7, sizes, "float64", lambda tile: found.append(skip.apply(tile, V).copy()))
    S = as_matrix(layer)
    np.testing.assert_array_equal(found[0], V @ S.T)
    kappa = np.broadcast_to(skip.curvature(3.0), layer.d_in)
    np.testing.assert_array_equal(np.diag(kappa), 3.0 * (np.eye(layer.d_in) + S.T @ S))
    T, D = RNG.standard_normal((7, layer.d_out)), np.full((7, layer.d_in), np.nan)
    skip.write_adjoint(device, D, T, 0.5)
    np.testing.assert_array_equal(D, 0.5 * T @ S)


def test_a_narrowed_problem_has_narrowed_skips():
    problem = Problem((5, 9, 9, 4), residual=True)
    assert problem.skips == (None, Skip(9, 9), None)
    assert problem.narrowed(6).skips == (None, Skip(6, 6), None)
    assert problem.skips == (None, Skip(9, 9), None)


@pytest.mark.parametrize("states", ["none", "ridge:1e-1", "nonnegative"])
@pytest.mark.parametrize("name", SKIPS)
def test_algorithm_3_descends_with_skips_between_different_widths(name, states):
    problem = problem_with_skips(name, state_penalty=states)
    solver = ThreeSplitting(problem, alpha=0.1, dtype="float64", tile_rows=13)
    result = solver.fit(X, Y, max_iter=6, callbacks=[Certify(every=2)])
    certificate = result.certificate
    assert certificate.descended
    assert certificate.decreased_sufficiently
    assert certificate.tracking_error < 1e-9, str(certificate)
    # The objective from its formula, with S as a matrix.
    state, F = result.state, 0.0
    pieces = zip(problem.layers, problem.residual, problem.activations, strict=True)
    for l, (layer, residual, activation) in enumerate(pieces, start=1):
        act = np.empty_like(state.U[l])
        kernels.activate(act, activation, state.U[l], None)
        below = state.V[l - 1] @ as_matrix(layer).T if residual else 0.0
        F += 0.5 * np.sum((state.V[l] - below - act) ** 2) / M
        linear = layer.linear_part(state.V[l - 1], state.W[l])
        if layer.has_weights:
            linear += np.tile(state.W[l][:, -1], layer.d_out // len(state.W[l]))
        F += 0.5 * np.sum((state.U[l] - linear) ** 2) / M
        F += np.vectorize(problem.state_penalties[l - 1].value)(state.V[l]).sum() / M
    F += 0.5 * np.sum((state.V[-1] - Y) ** 2) / M
    assert solver.objective(state) == pytest.approx(F)


@pytest.mark.parametrize("name", SKIPS)
def test_subgradient_network_and_file_know_skips_between_different_widths(name, tmp_path):
    problem = problem_with_skips(name)
    solver = ThreeSplitting(problem, dtype="float64")
    state = solver.init(X, Y)
    network = Network(state.W[1:], problem.activations, problem.residual, problem.layers)
    np.testing.assert_allclose(network.forward(X), state.V[-1], atol=1e-12)
    model = Model(network, [0, 1, 2], Preprocessing(np.zeros(1), np.ones(1)))
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(Model.load(tmp_path / "model").outputs(X), model.outputs(X))
    solver.step(state)
    assert_the_subgradient_is_the_gradient(solver, state)


@pytest.mark.parametrize("name", SKIPS)
def test_mini_batches_follow_the_gradient_with_skips_between_different_widths(name):
    problem = problem_with_skips(name)
    solver = MiniBatchThreeSplitting(problem, dtype="float64", displacement=1e-6, batch_size=M)
    before = solver.init(X, Y, passes=20)
    state = solver.step(solver.init(X, Y, passes=20))
    batch = state.cache.batches[M]

    def loss(W):
        outputs = Network(W, problem.activations, problem.residual, problem.layers).forward(X)
        return kernels.loss_sum(problem.loss, outputs, np.ascontiguousarray(Y))

    for l, layer in enumerate(problem.layers, start=1):
        if not layer.has_weights:
            continue
        W = [w.copy() for w in before.W[1:]]
        gradient = central_differences(lambda W=W: loss(W), W[l - 1])
        N = np.zeros_like(gradient)
        layer.batch_gradient(kernels, N, batch.D[l], batch.V[l - 1], 1.0, 0.0)
        cosine = -np.sum(N * gradient) / np.linalg.norm(N) / np.linalg.norm(gradient)
        assert cosine > 0.99, (l, cosine)


def test_residual_true_joins_convolutions_of_any_size_but_not_the_first_one():
    images = SKIPS["smaller images"][1]
    assert Problem(layers=images, residual=True).residual == (False, True, True, False)
    assert Problem(layers=NETWORKS["conv2d"][1], residual=True).residual == (False, True, False)
    with pytest.raises(InputError, match=r"no hidden layer is as wide .* and no convolution foll"):
        Problem(layers=[Conv2d((3, 2, 1), 2, 1), Dense(12, 3)], residual=True)
