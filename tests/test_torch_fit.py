"""Networks of PyTorch that are trained in place; where it is not installed, almost all skip."""

import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest

from fastbcd import InputError, MiniBatchThreeSplitting, Model, Network, Problem, one_hot
from fastbcd.data import Preprocessing
from fastbcd.export import torch_module, torch_source
from fastbcd.kernels import linear, polynomial, relu, tanh
from fastbcd.layers import Conv2d, Dense, GroupedConv2d, MaxPool2d
from fastbcd.torch import fit
from fastbcd.training.loop import Callback, run

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
IMAGES = RNG.normal(size=(60, 2, 6, 8)).astype(np.float32)
NOTHING = Preprocessing(np.zeros(1), np.ones(1))


@pytest.fixture
def torch():
    """PyTorch with one thread and a known seed."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield torch
    torch.set_num_threads(before)


def dense(nn, k=3):
    layers = nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, k)
    return nn.Sequential(*layers)


def loss_of(torch, module):
    with torch.no_grad():
        outputs = module(torch.from_numpy(X))
    return float(torch.nn.functional.cross_entropy(outputs, torch.from_numpy(LABELS)))


def same(module, state):
    return all((state[key] == tensor).all() for key, tensor in module.state_dict().items())


def test_torch_is_imported_when_fit_is_called_and_its_lack_is_one_sentence():
    script = (
        "import sys, fastbcd, fastbcd.torch\n"
        "assert 'torch' not in sys.modules\n"
        "sys.modules['torch'] = None\n"  # as if it were not installed
        "try:\n    fastbcd.torch.fit(None, [[1.0]], [0])\n"
        "except fastbcd.InputError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "torch is not installed: pip install 'fastbcd[torch]'" in done.stdout, done.stderr


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_the_weights_are_those_of_the_solver_by_itself(torch, kind):
    module, seed, passes = dense(torch.nn), 3, 4
    loss, given, Y = "cross_entropy", torch.from_numpy(LABELS), one_hot(LABELS)
    if kind == "numbers":
        loss, Y = "squared", RNG.normal(size=(60, 3))
        given = torch.from_numpy(Y)
    problem = Problem((6, 8, 7, 3), ["relu", "tanh"], loss, weight_penalty="ridge:1e-3")
    solver = MiniBatchThreeSplitting(problem, batch_size=20, step_size=0.2)
    state = solver.init(X, Y, seed=seed, passes=passes)
    for l, layer in enumerate(module[::2], start=1):
        for W in (state.W[l], state.mean_W[l]):
            W[:, :-1], W[:, -1] = layer.weight.detach(), layer.bias.detach()
    alone = run(solver, state, passes).network
    memory = [parameter.data_ptr() for parameter in module.parameters()]
    options = {"weight_penalty": "ridge:1e-3", "batch_size": 20, "step_size": 0.2}
    result = fit(module, torch.from_numpy(X), given, seed=seed, max_iter=passes, **options)
    for layer, W in zip(module[::2], alone.W, strict=True):
        np.testing.assert_allclose(layer.weight.detach(), W[:, :-1], atol=1e-6)
        np.testing.assert_allclose(layer.bias.detach(), W[:, -1], atol=1e-6)
    assert memory == [parameter.data_ptr() for parameter in module.parameters()]
    losses = [record["batch_loss"] for record in result.history]
    assert len(losses) == passes
    assert losses[-1] < losses[0]


def test_a_network_goes_on_under_an_optimiser_and_back_from_a_state_to_a_state(torch):
    module = dense(torch.nn)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = [loss_of(torch, module)]
    state = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    for turn in range(4):
        other = dense(torch.nn)
        other.load_state_dict(state)
        module.load_state_dict(other.state_dict())
        if turn % 2 == 0:
            fit(module, X, LABELS, max_iter=3)
        for _ in range(20 * (turn % 2)):
            optimiser.zero_grad()
            outputs = module(torch.from_numpy(X))
            torch.nn.functional.cross_entropy(outputs, torch.from_numpy(LABELS)).backward()
            optimiser.step()
        losses.append(loss_of(torch, module))
        state = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    assert losses == sorted(losses, reverse=True), losses
    assert losses[-1] < 0.5 * losses[0]


def networks_of_images(nn):
    yield nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding="same"), nn.LeakyReLU(0.2), nn.MaxPool2d((2, 2))),
        *(nn.Conv2d(4, 6, (2, 3), groups=2), nn.Flatten(), nn.Softplus(), nn.Linear(24, 5)),
        *(nn.Sequential(nn.Identity(), nn.Sigmoid()), nn.Linear(5, 3)),
    )
    yield nn.Sequential(
        *(nn.Conv2d(2, 4, 3, stride=(1, 2), padding=1), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    yield nn.Sequential(nn.Flatten(), nn.Linear(96, 4), nn.Linear(4, 3))


def test_a_network_of_images_is_read_as_it_computes_and_written_as_it_was_read(torch):
    for number, module in enumerate(networks_of_images(torch.nn)):
        module.to(torch.float64 if number == 1 else torch.float32)
        state = deepcopy(module.state_dict())
        result = fit(module, torch.from_numpy(IMAGES), LABELS, max_iter=0)
        assert same(module, state)
        rows = IMAGES if number == 2 else IMAGES.transpose(0, 2, 3, 1)
        outputs = result.network.forward(rows.reshape(60, -1))
        with torch.no_grad():
            expected = module(torch.from_numpy(IMAGES.astype(outputs.dtype)))
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


def model_of(layers, activations, residual):
    W = [0.3 * RNG.normal(size=layer.weight_shape).astype(np.float32) for layer in layers]
    network = Network(W, activations, residual, layers)
    return Model(network, np.arange(3), NOTHING, loss="cross_entropy")


def exported_models():
    widths = [(6, 6), (6, 9), (9, 9), (9, 3)]
    acts = [polynomial(0.1, 1.0, -0.05), tanh(), relu(), linear()]
    yield model_of([Dense(*w) for w in widths], acts, [True, True, False, False]), X
    first = Conv2d((6, 8, 2), 4, 3, padding=1)
    second = GroupedConv2d(first.image_out, 8, 2, 2, groups=2)
    pool = MaxPool2d(second.image_out, (3, 2))
    dense = Dense(pool.d_out, pool.d_out)
    layers = [first, second, pool, dense, Dense(dense.d_out, 3)]
    acts = [relu(), tanh(), linear(), relu(), linear()]
    rows = IMAGES.transpose(0, 2, 3, 1).reshape(60, -1)
    yield model_of(layers, acts, [True, True, False, True, False]), rows


def test_exported_networks_with_residual_layers_are_read_from_modules_and_from_source(torch):
    for model, rows in exported_models():
        names = {}
        exec(compile(torch_source(model), "model.py", "exec"), names)
        from_source = names["build"]()
        from_source.load_state_dict(torch_module(model).state_dict())
        for module in (torch_module(model), from_source):
            network = fit(module, rows, LABELS, max_iter=0).network
            assert network.layers == model.network.layers
            assert network.residual == model.network.residual
            assert network.activations == model.network.activations
            for own, given in zip(network.W, model.network.W, strict=True):
                np.testing.assert_array_equal(own, given)


def test_a_loader_gives_what_its_samples_give(torch):
    data = torch.utils.data
    samples = data.TensorDataset(torch.from_numpy(X), torch.from_numpy(LABELS))
    loader = data.DataLoader(samples, batch_size=7)
    module, other = dense(torch.nn), dense(torch.nn)
    other.load_state_dict(module.state_dict())
    fit(module, loader, max_iter=1)
    fit(other, X, LABELS, max_iter=1)
    assert same(module, other.state_dict())


def test_samples_stay_where_they_are_in_memory_or_in_a_file(torch, tmp_path):
    tensor, Y = torch.from_numpy(X), RNG.normal(size=(60, 3))
    state = fit(dense(torch.nn), tensor, torch.from_numpy(Y), max_iter=0).state
    assert np.shares_memory(state.X, X)
    assert np.shares_memory(state.Y, Y)
    images = torch.from_numpy(IMAGES).to(memory_format=torch.channels_last)
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, (6, 8)), torch.nn.Flatten())
    state = fit(module, images, Y, max_iter=0).state
    assert np.shares_memory(state.X, images.numpy())
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    module, other = dense(torch.nn), dense(torch.nn)
    other.load_state_dict(module.state_dict())
    assert isinstance(fit(module, mapped, LABELS, max_iter=1).state.X, np.memmap)
    fit(other, X, LABELS, max_iter=1)
    assert same(module, other.state_dict())


def test_targets_are_classes_or_numbers_and_a_loss_may_be_chosen(torch):
    counts = RNG.poisson(3, 60)
    for k, y, loss, name in [
        (3, LABELS, None, "cross_entropy"),
        (3, LABELS.astype(np.uint8), "squared", "squared"),
        (1, X[:, 0], None, "squared"),
        (1, counts, "poisson", "poisson"),
        (1, LABELS > 0, "logistic_ovr", "logistic_ovr"),
        (2, np.stack([LABELS > 0, LABELS > 1], axis=1), "logistic_ovr", "logistic_ovr"),
    ]:
        seen = SeesSolver()
        result = fit(dense(torch.nn, k), X, y, loss=loss, max_iter=0, callbacks=[seen])
        assert seen.solver.problem.loss.name == name
        expected = one_hot(LABELS) if k == 3 else np.reshape(y, (60, k))
        np.testing.assert_array_equal(result.state.Y, expected)


class SeesSolver(Callback):
    def on_start(self, solver, state, max_iter):
        self.solver = solver


class Fails(Callback):
    def on_iteration(self, solver, state, record):
        raise RuntimeError("in the first pass")


def test_an_error_in_training_leaves_the_parameters_as_they_were(torch):
    module = dense(torch.nn)
    state = deepcopy(module.state_dict())
    with pytest.raises(RuntimeError, match="in the first pass"):
        fit(module, X, LABELS, callbacks=[Fails()], max_iter=2)
    assert same(module, state)


def refusals(torch):
    """What is refused: a module, or what is trained on, and how the message begins."""
    nn, data = torch.nn, torch.utils.data
    linear, images = nn.Linear(6, 6), torch.from_numpy(IMAGES)
    of_images, of_rows = {"X": images}, {"X": X}
    last = nn.Flatten(), nn.Linear(4, 3)
    for layers, given, message in [
        ((linear, nn.BatchNorm1d(6)), of_rows, r"module 1 \(BatchNorm1d\) has no counterpart"),
        ((nn.Sequential(linear, nn.Dropout()),), of_rows, r"module 0.1 \(Dropout\) has no count"),
        ((linear, nn.Softmax(-1)), of_rows, r"module 1 \(Softmax\) comes after the last layer"),
        ((linear, nn.Sigmoid()), of_rows, r"module 0 \(Linear\) is the last layer and has"),
        ((nn.ReLU(), linear), of_rows, r"module 0 \(ReLU\) comes before the first layer"),
        ((linear, nn.ReLU(), nn.Tanh()), of_rows, r"module 2 \(Tanh\) is the second activation"),
        ((linear, nn.Linear(5, 3)), of_rows, r"module 1 \(Linear\) takes 5 numbers, but gets 6"),
        ((linear, linear), of_rows, r"module 1 \(Linear\) shares its weight with module 0"),
        ((nn.Linear(6, 3, bias=False),), of_rows, r"module 0 .* a layer has weight and bias"),
        ((nn.Linear(6, 3).half(),), of_rows, r"module 0 .* must be float32, or all float64"),
        ((nn.Linear(6, 3).to("meta"),), of_rows, r"module 0 \(Linear\) lies on meta; bring"),
        ((nn.Linear(6, 3).requires_grad_(False),), of_rows, "module 0 .* requires_grad=False"),
        ((linear, nn.Softplus(2.0), linear), of_rows, r"module 1 \(Softplus\) has beta=2.0; "),
        ((), of_rows, "module has no layer with weights"),
        ((nn.Conv2d(2, 4, 3), *last), of_rows, r"module 0 \(Conv2d\) takes images \(C, H, W\)"),
        ((nn.Conv2d(3, 4, 3), *last), of_images, r"module 0 \(Conv2d\) takes 3 channels"),
        ((nn.Conv2d(2, 4, 9), *last), of_images, r"module 0 \(Conv2d\): a kernel of 9 x 9 is"),
        ((nn.Conv2d(2, 4, 3, dilation=2), *last), of_images, "module 0 .* has dilation="),
        ((nn.Conv2d(2, 4, 1), nn.MaxPool2d(4), *last), of_images, r"module 1 .* do not fill"),
        ((nn.Conv2d(2, 3, 1),), of_images, r"module makes images \(3, 6, 8\)"),
        ((nn.Conv2d(2, 4, 1), nn.Linear(8, 3)), of_images, r"module 1 .* put nn.Flatten\(\)"),
    ]:
        yield nn.Sequential(*layers), given, message
    pairs = data.TensorDataset(torch.from_numpy(X), torch.from_numpy(LABELS))
    for given, message in [
        ({"y": LABELS + 1}, "y must hold classes from 0 to 2, as the last layer has 3 outputs"),
        ({"y": LABELS[1:]}, r"y must be \(n,\) or \(n, k\) for the 60 samples of X"),
        ({"y": X[:, 0]}, r"y is float32 of shape \(60,\), but the last layer has 3 outputs"),
        ({"y": X[:, :3] > 0}, "y holds integers in columns; give classes as a vector, or a loss"),
        ({"y": None}, "y: give targets for X, a ndarray"),
        ({"y": None, "X": pairs}, "X is a TensorDataset; give a DataLoader of it"),
        ({"y": None, "X": [X, X]}, "X: batch 0 of the loader must be a pair"),
        ({"y": None, "X": [(X, LABELS, X)]}, "X: batch 0 of the loader .* got 3 things"),
        ({"y": None, "X": []}, "X: the loader has no batch"),
        ({"X": X * np.nan}, "X must be finite, but row 0, column 0 is nan"),
        ({"X": torch.from_numpy(X).bfloat16()}, "X holds torch.bfloat16; convert it by X.float"),
        ({"X": torch.from_numpy(X).to("meta")}, "X lies on meta"),
        ({"X": X[:, 0]}, "X must have samples of at least one number"),
        ({"loss": "mse"}, "loss: unknown name 'mse'; known: squared"),
        ({"max_iter": -1}, "max_iter must be an integer of at least 0"),
    ]:
        yield dense(nn), {"X": X, **given}, message
    yield dense(nn, 1), {"X": X}, "y holds integers, which are classes, but the last layer has one"
    yield nn.Linear(6, 3), {"X": X}, r"module must be a torch.nn.Sequential, got Linear; write"


def test_whatever_does_not_fit_is_refused_in_one_sentence_that_names_it(torch):
    for module, given, message in refusals(torch):
        with pytest.raises(InputError, match=f"^{message}"):
            fit(module, **{"y": LABELS, **given})
    with pytest.raises(TypeError, match="no keyword 'epochs'; it is called 'max_iter' here"):
        fit(dense(torch.nn), X, LABELS, epochs=3)
    with pytest.raises(TypeError, match="no keyword 'depth'; known: batch_size, step_size"):
        fit(dense(torch.nn), X, LABELS, depth=3)
