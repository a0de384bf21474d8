"""Networks of convolutions and pools in PyTorch and onnxruntime; each skips where it is missing."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from exporting import ACTIVATION_TEXTS
from layer_types import Scaling
from share import share

from fastbcd import BCDClassifier, BCDRegressor, InputError, Model, Network
from fastbcd.cli.main import main
from fastbcd.data import Preprocessing
from fastbcd.export import onnx_model, torch_module, torch_source, torch_state
from fastbcd.kernels import ACTIVATIONS, Formula, linear, relu, tanh
from fastbcd.layers import AveragePool2d, Conv2d, Dense, build_layers
from fastbcd.models.probabilities import LINKS
from fastbcd.support.parameters import parse

RNG = np.random.default_rng(0)
START = RNG.bit_generator.state
NOTHING = Preprocessing(np.zeros(1), np.ones(1))
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}


@pytest.fixture(autouse=True)
def the_same_numbers_in_any_order_of_tests():
    RNG.bit_generator.state = START


def in_torch(model, X, probabilities=False):
    torch = pytest.importorskip("torch")
    module = torch_module(model, probabilities)
    dtype = next((p.dtype for p in module.parameters()), torch.float32)
    with torch.no_grad():
        return module(torch.tensor(X, dtype=dtype)).numpy()


def from_source(model, X):
    """The module that the source file builds, without the code of this package."""
    torch = pytest.importorskip("torch")
    names = {}
    exec(compile(torch_source(model), "model.py", "exec"), names)
    module = names["build"]()
    module.load_state_dict(torch_state(model))
    with torch.no_grad():
        return module(torch.tensor(X, dtype=next(module.parameters()).dtype)).numpy()


def session_of(content):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(content, options, ["CPUExecutionProvider"])


def results_of(content, X):
    """Results by name of a graph in bytes."""
    session = session_of(content)
    dtype = np.float64 if session.get_inputs()[0].type == "tensor(double)" else np.float32
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": X.astype(dtype)}), strict=True))


def in_onnx(model, X):
    pytest.importorskip("onnx")
    results = results_of(onnx_model(model).SerializeToString(), X)
    return results["prediction" if model.classes is None else "outputs"]


WAYS = {"torch": in_torch, "source": from_source, "onnx": in_onnx}
each_way = pytest.mark.parametrize("evaluate", WAYS.values(), ids=WAYS)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCES)


def model_of(layers, dtype="float32", activations=None, residual=None, **parts):
    """A model of these layers with random weights and biases."""
    W = [layer.initial_weights(RNG, 0.4, 0.0, np.dtype(dtype)) for layer in layers]
    for w in W:
        w[:, -1:] = RNG.standard_normal((len(w), 1))
    if activations is None:
        activations = [tanh() if layer.has_activation else linear() for layer in layers]
    network = Network(W, activations, residual or [False] * len(layers), layers)
    known = {"classes": np.arange(layers[-1].d_out), "preprocessing": NOTHING}
    return Model(network, **{**known, **parts})


def samples(layers, n=9):
    return RNG.standard_normal((n, layers[0].d_in)).astype(np.float32)


def check(evaluate, model, X):
    """Whether both programs' outputs agree with those of float64, to digits of a sample's largest.

    The network in float64 is the judge, so that a failure says which of the two is wrong.
    """
    net = model.network
    exact = Network([w.astype(float) for w in net.W], net.activations, net.residual, net.layers)
    expected = outputs(replace(model, network=exact), X)
    scale = np.maximum(1, np.abs(expected).max(axis=1, keepdims=True))
    tolerance = TOLERANCES[net.W[0].dtype.name]
    for name, found in (
        ("this package", outputs(model, X)),
        ("the exported network", evaluate(model, X).reshape(len(X), -1)),
    ):
        errors = np.abs(found - expected) / scale
        assert (errors <= tolerance).all(), f"{name} is wrong by {errors.max()}"


def outputs(model, X):
    return model.predict(X).reshape(len(X), -1) if model.classes is None else model.outputs(X)


IMAGE = (7, 9, 3)
TEXTS = {
    "one convolution": "conv:4:3",
    "one channel": "conv:4:3:2,dense:6",
    "stride": "conv:4:3x2:2x3,dense:6",
    "padding": "conv:4:3x5:1:2x1,dense:6",
    "stride and padding": "conv:5:2x4:3x2:1x2",
    "groups": "conv:6:3x2:2:1:3,conv:4:1:1:0:2",
    "1 x 1": "conv:4:1,conv:2:1:2",
    "the whole image": "conv:6:7x9,dense:4",
    "pools": "conv:4:2,maxpool:3x2,averagepool:2,dense:6",
    "pools first": "averagepool:7x3,maxpool:1x3",
    "global": "conv:4:3:1:1,averagepool:global,dense:5,dense:4",
    "global last": "maxpool:1x3,conv:3:3:2:1,averagepool:global",
    "dense": "dense:8,dense:6",
}


def layers_of(name):
    image = (*IMAGE[:2], 1) if name == "one channel" else IMAGE
    layers = build_layers(TEXTS[name], image, 3)
    return layers[:-1] if name == "global last" else layers


@each_way
@each_dtype
@pytest.mark.parametrize("name", TEXTS)
def test_images_that_are_not_square_and_have_channels_give_the_same(name, dtype, evaluate):
    layers = layers_of(name)
    check(evaluate, model_of(layers, dtype), samples(layers))


@each_way
@pytest.mark.parametrize("text", share(ACTIVATION_TEXTS, at_most=2))
def test_every_activation_may_follow_a_convolution(text, evaluate):
    act = parse(text, ACTIVATIONS, "activation")
    for dtype in TOLERANCES:
        layers = build_layers("conv:4:3:2:1,dense:5", IMAGE, 3)
        check(evaluate, model_of(layers, dtype, [act, relu(), linear()]), samples(layers))


@each_way
@each_dtype
@pytest.mark.parametrize("kind", share(["unit", "none", "clipped", "standard"], at_most=2))
@pytest.mark.parametrize("channels", [3, None], ids=["by channel", "by pixel"])
@pytest.mark.parametrize("text", ["conv:4:3:1:1", "maxpool:1x3,conv:4:3:1:1", "dense:5"])
def test_scaled_inputs_give_the_same_where_padding_stays_zero(
    text, channels, kind, dtype, evaluate
):
    layers = build_layers(text, IMAGE, 3)
    X = samples(layers, 40) * np.float32(3) + np.tile([0, 5, -2], 63).astype(np.float32)
    scaling = Preprocessing.fit(X, kind, channels=channels)
    X[:2] *= 9  # beyond the limit
    check(evaluate, model_of(layers, dtype, preprocessing=scaling), X)


@each_way
@each_dtype
def test_residual_layers_of_images_give_the_same(dtype, evaluate):
    same = Conv2d((4, 5, 3), 3, 3, padding=1)
    smaller = Conv2d((4, 4, 1), 4, 2, 2)
    larger = Conv2d((2, 2, 4), 2, 1, padding=(1, 2))
    for layers, joins in (
        ([same, same, Dense(60, 60), Dense(60, 3)], (True, True, True, False)),
        ([smaller, Dense(16, 16), smaller, AveragePool2d((2, 2, 4), "global")], (True,) * 4),
        ([Dense(6, 60), same, Dense(60, 3)], (False, True, False)),
        ([Dense(60, 60), same], (True, True)),
        ([smaller, larger, Dense(48, 5), Dense(5, 7), Dense(7, 3)], (True,) * 5),
    ):
        scaling = Preprocessing(np.full(1, 0.5), np.full(1, 2.0), 3.0)
        model = model_of(layers, dtype, residual=joins, preprocessing=scaling)
        check(evaluate, model, samples(layers))


@each_way
@each_dtype
@pytest.mark.parametrize("last", [True, False], ids=["dense last", "images last"])
def test_regression_gives_predictions_in_the_units_of_the_targets(last, dtype, evaluate):
    layers = build_layers("conv:2:3x4:2:1", (4, 5, 3), 4)
    layers = layers if last else layers[:-1]
    k = layers[-1].d_out
    parts = {"target_shift": np.arange(k) / 2.0, "target_scale": np.linspace(0.5, 2, k)}
    for act in (linear(), relu()):
        activations = [act] * len(layers)
        model = model_of(layers, dtype, activations, classes=None, **parts)
        check(evaluate, model, samples(layers))


@pytest.mark.parametrize("loss", LINKS)
def test_probabilities_and_labels_are_those_of_the_model(loss):
    layers = build_layers("conv:4:3,maxpool:5x7,dense:6", IMAGE, 3)
    model, X = model_of(layers, loss=loss, classes=np.array(["a", "b", "c"])), samples(layers)
    expected = model.predict_proba(X)
    np.testing.assert_allclose(in_torch(model, X, probabilities=True), expected, atol=1e-5)
    pytest.importorskip("onnx")
    results = results_of(onnx_model(model).SerializeToString(), X)
    np.testing.assert_allclose(results["probabilities"], expected, atol=1e-5)
    assert results["label"].tolist() == model.predict(X).tolist()


def test_a_sequential_written_by_hand_loads_the_state_and_takes_images_of_torch():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    layers = build_layers("conv:4:3:1:1,maxpool:7x3,conv:6:1x2,dense:5", IMAGE, 3)
    model, X = model_of(layers), samples(layers)
    images = torch.tensor(X).reshape(-1, *IMAGE).permute(0, 3, 1, 2)
    by_hand = nn.Sequential(
        *(nn.Identity(), nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.MaxPool2d((7, 3))),
        *(nn.Conv2d(4, 6, (1, 2)), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5), nn.Tanh()),
        *(nn.Linear(5, 3), nn.Tanh()),
    )
    by_hand.load_state_dict(torch_state(model))
    expected = model.outputs(X)
    with torch.no_grad():
        np.testing.assert_allclose(by_hand(images).numpy(), expected, atol=1e-5)
        rows = images.permute(0, 2, 3, 1).flatten(1)  # as the docs say
        np.testing.assert_allclose(torch_module(model)(rows).numpy(), expected, atol=1e-5)
    assert all(tensor.is_contiguous() for tensor in torch_state(model).values())


@dataclass(frozen=True)
class Mine(Conv2d):
    """A type of a user's own, which happens to be derived from one that can be exported."""


@pytest.mark.parametrize("export", [onnx_model, torch_module, torch_source, torch_state])
def test_what_cannot_be_exported_is_named_in_one_sentence(export):
    pytest.importorskip("onnx" if export is onnx_model else "torch")
    first = build_layers("conv:4:3", IMAGE, 3)[0]
    known = "types that can: dense, conv2d, grouped_conv2d, average_pool2d, max_pool2d$"
    with pytest.raises(
        InputError, match="^layers: layer 2 is a scaling, which cannot be.*" + known
    ):
        export(model_of([first, Scaling(first.d_out, first.d_out, 2.0), Dense(first.d_out, 3)]))
    with pytest.raises(InputError, match="^layers: layer 1 is a conv2d, which cannot be exported"):
        export(model_of([Mine(IMAGE, 4, 3)]))
    own = [Formula("mine", value=relu().functions["value"]), linear()]
    with pytest.raises(InputError, match="activation: mine cannot be exported"):
        export(model_of([first, Dense(first.d_out, 3)], activations=own))


GREY = RNG.integers(0, 256, (60, 6, 8, 2)).astype(np.uint8)
WORDS = ["conv:4:3:1:1", "maxpool:2", "conv:5:2", "dense:6"]


@each_way
@pytest.mark.parametrize("preprocess", ["auto", "standard", "clipped"])
def test_estimators_of_images_are_exported(preprocess, evaluate):
    options = {"layers": WORDS, "preprocess": preprocess, "max_iter": 2, "random_state": 0}
    y = np.arange(60) % 3
    rows = GREY.reshape(60, -1)
    for kind in (BCDClassifier, BCDRegressor):
        estimator = kind(**options).fit(GREY, y)
        check(evaluate, estimator.model_, rows)


def test_the_command_exports_the_file_of_a_model_of_images(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    layers = build_layers("conv:4:3:2:1,averagepool:2x1,dense:6", (7, 9, 2), 3)
    parts = {"loss": "cross_entropy", "image_shape": (7, 9, 2)}
    model, X = model_of(layers, **parts), samples(layers)
    model.save(tmp_path / "model.safetensors")
    for library in ("onnx", "torch"):
        assert main(["export", str(tmp_path / "model.safetensors"), "--to", library]) == 0
    assert capsys.readouterr().out.count("takes raw inputs (n, 126) in float32\n") == 2
    graph = (tmp_path / "model.onnx").read_bytes()
    np.testing.assert_allclose(results_of(graph, X)["outputs"], model.outputs(X), atol=1e-5)
    metadata = {p.key: json.loads(p.value) for p in onnx_model(model).metadata_props}
    assert metadata["image_shape"] == [7, 9, 2]
    names = {}
    exec(compile((tmp_path / "model.py").read_text(), "model.py", "exec"), names)
    module = names["load"](str(tmp_path / "model.pt"))
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.tensor(X)).numpy(), model.outputs(X), atol=1e-5)
    assert names["IMAGE_SHAPE"] == (7, 9, 2)
