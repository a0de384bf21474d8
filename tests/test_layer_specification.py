"""Layers as text: what they stand for, errors, files, estimators and the command line."""

import json

import numpy as np
import pytest
from layer_types import Scaling
from sklearn.base import clone
from sklearn.datasets import load_digits

from fastbcd import BCDClassifier, Model
from fastbcd.cli.main import main
from fastbcd.data import Preprocessing
from fastbcd.errors import InputError
from fastbcd.kernels import linear, relu
from fastbcd.layers import AveragePool2d, Conv2d, Dense, MaxPool2d, build_layers
from fastbcd.layers.specification import layer_of, settings_of
from fastbcd.models.network import Network

SMALL = "conv:3:3,maxpool:2,dense:12"


def test_a_text_names_layers_whose_shapes_follow_from_the_images():
    layers = build_layers(
        " conv:4:3:1:1, maxpool:2x4,conv:6:2x1:2x1 ,averagepool:global,dense:7", (8, 8), 5
    )
    first = Conv2d((8, 8, 1), 4, 3, padding=1)
    pool = MaxPool2d(first.image_out, (2, 4))
    second = Conv2d(pool.image_out, 6, (2, 1), (2, 1))
    mean = AveragePool2d(second.image_out, "global")
    assert layers == [first, pool, second, mean, Dense(6, 7), Dense(7, 5)]
    assert build_layers(["conv:4:3:1:1"], (8, 8, 2), 3)[0].image == (8, 8, 2)
    assert build_layers("dense:4", (9,), 2) == [Dense(9, 4), Dense(4, 2)]
    assert first.image_out == (8, 8, 4)


@pytest.mark.parametrize(
    ("text", "shape", "sentence"),
    [
        ("conv:4:9", (8, 8, 1), r"number 1, 'conv:4:9': Conv2d: a kernel of 9 x 9 is larger than"),
        ("conv:4:4,maxpool:2", (8, 8, 1), r"number 2, 'maxpool:2': .* do not fill an image of 5 x"),
        ("dense:4,conv:4:1", (8, 8, 1), r"number 2, 'conv:4:1': .* but gets a row of 4 numbers"),
        ("conv:4:1", (64,), r"number 1, 'conv:4:1': .* but gets a row of 64 numbers"),
        ("pool:2", (8, 8, 1), r"number 1, 'pool:2': there is no 'pool'; the layers are conv:"),
        ("conv:4", (8, 8, 1), r"it has 1 arguments; the form is conv:CHANNELS:KERNEL\["),
        ("dense:4:4", (8, 8, 1), r"it has 2 arguments; the form is dense:WIDTH"),
        ("dense:4x4", (8, 8, 1), r"a width must be a number of at least 1, got \(4, 4\)"),
        ("dense:0", (8, 8, 1), r"a width must be a number of at least 1, got 0"),
        ("conv:4:3x3x3", (8, 8, 1), r"'3x3x3' is neither a number nor HEIGHTxWIDTH"),
        ("conv:-4:3", (8, 8, 1), r"'-4' is neither a number nor HEIGHTxWIDTH"),
        ("", (8, 8, 1), r"number 1, '': there is no ''"),
        ([4], (8, 8, 1), r"layers must be texts such as conv:"),
    ],
)
def test_an_error_names_the_layer_and_the_shapes(text, shape, sentence):
    with pytest.raises(InputError, match=sentence) as raised:
        build_layers(text, shape, 3)
    assert "\n" not in str(raised.value)


def network(layers):
    rng = np.random.default_rng(0)
    W = [rng.normal(size=layer.weight_shape) for layer in layers]
    act = [relu() if layer.has_activation else linear() for layer in layers[:-1]]
    return Network(W, [*act, linear()], [False] * len(layers), layers)


def test_a_model_file_keeps_every_type_of_layer(tmp_path):
    layers = build_layers("conv:3:2:2:1,maxpool:1x5,averagepool:global,dense:4", (8, 8, 2), 2)
    unscaled = Preprocessing(np.zeros(1), np.ones(1))
    model = Model(network(layers), np.array([0, 1]), unscaled, image_shape=(8, 8, 2))
    model.save(tmp_path / "model.safetensors")
    read = Model.load(tmp_path / "model.safetensors")
    assert read.network.layers == layers
    X = np.random.default_rng(1).random((5, 8, 8, 2))
    np.testing.assert_array_equal(read.outputs(X), model.outputs(X))
    with pytest.raises(InputError, match=r"trained on images of shape \(8, 8, 2\), but X has"):
        read.outputs(X.transpose(0, 3, 1, 2))


def test_settings_of_a_layer_are_plain_and_a_wrong_one_is_named():
    layer = Conv2d((8, 8, 2), 3, 2, stride=2)
    stored = json.loads(json.dumps(settings_of(layer)))
    assert layer_of(stored) == layer
    assert set(stored) == {"type", "image", "channels", "kernel", "stride", "padding", "steps"}
    with pytest.raises(InputError, match=r"layers: type 'conv9d' is unknown; known: dense, conv2d"):
        layer_of({**stored, "type": "conv9d"})
    with pytest.raises(InputError, match=r"layers: conv2d.*more"):
        layer_of({**stored, "more": 1})
    del stored["steps"]
    with pytest.raises(InputError, match=r"layers: conv2d.*steps"):
        layer_of(stored)
    with pytest.raises(InputError, match=r"scaling is not one of this package's types"):
        settings_of(Scaling(3, 3, 2.0))


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X.astype(np.uint8).reshape(-1, 8, 8), y


@pytest.fixture(scope="module")
def fitted(digits):
    X, y = digits
    model = BCDClassifier(layers=SMALL, random_state=0, max_iter=12)
    return model.fit(X[:1200], y[:1200])


def test_a_classifier_learns_images(digits, fitted):
    X, y = digits
    assert fitted.score(X[1200:], y[1200:]) > 0.8
    assert fitted.n_features_in_ == 64
    assert fitted.network_.layers[0] == Conv2d((8, 8, 1), 3, 3)
    np.testing.assert_array_equal(fitted.predict(X[:9, :, :, None]), fitted.predict(X[:9]))
    np.testing.assert_array_equal(fitted.predict(X[:9].reshape(9, 64)), fitted.predict(X[:9]))


def test_rows_and_images_give_the_same_network(digits, fitted):
    X, y = digits
    rows = clone(fitted).set_params(image_shape=(8, 8))
    rows.fit(X[:1200].reshape(-1, 64), y[:1200])
    for W, expected in zip(rows.network_.W, fitted.network_.W, strict=True):
        np.testing.assert_array_equal(W, expected)


def test_a_stored_classifier_predicts_the_same(digits, fitted, tmp_path):
    fitted.model_.save(tmp_path / "m.safetensors")
    X = digits[0][1200:]
    read = Model.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(read.predict(X), fitted.model_.predict(X))


def test_images_of_another_shape_are_refused(digits, fitted):
    X, y = digits
    with pytest.raises(InputError, match=r"trained on images of shape \(8, 8\), but X has \(7, 8"):
        fitted.predict(X[:, :7])
    with pytest.raises(InputError, match=r"image_shape \(8, 9\) has 72 elements, but X has 64"):
        BCDClassifier(layers=SMALL, image_shape=(8, 9)).fit(X.reshape(-1, 64), y)
    with pytest.raises(InputError, match=r"image_shape says images of shape \(4, 16\), but X has"):
        BCDClassifier(layers=SMALL, image_shape=(4, 16)).fit(X, y)
    with pytest.raises(InputError, match=r"'conv:3:3': .* but gets a row of 64 numbers"):
        BCDClassifier(layers=SMALL).fit(X.reshape(-1, 64), y)
    with pytest.raises(ValueError, match="dim 3"):
        BCDClassifier().fit(X, y)


def test_warm_start_goes_on_with_the_same_layers_only(digits, fitted):
    X, y = digits
    warm = clone(fitted).set_params(warm_start=True, max_iter=1).fit(X[:300], y[:300])
    warm.fit(X[:300], y[:300])
    with pytest.raises(InputError, match=r"layers: the network so far has widths"):
        warm.set_params(layers="conv:4:3,dense:12").fit(X[:300], y[:300])


def run(capsys, *arguments):
    status = main(["train", "--threads", "1", *arguments])
    return status, *capsys.readouterr()


def test_the_command_line_trains_and_predicts_with_layers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--layers", SMALL, "--image-shape", "8,8", "--out", "r", "--batch-size", "100"]
    status, out, _ = run(capsys, *options, "--epochs", "12", "--quiet")
    assert (status, out) == (0, "")
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["widths"] == [64, 108, 27, 12, 10]
    assert summary["test_accuracy"] > 0.8
    assert main(["predict", "r"]) == 0
    assert f"accuracy {summary['test_accuracy']} on 360 samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--layers", SMALL], "but gets a row of 64 numbers; --image-shape H,W,C says that"),
        (["--layers", SMALL, "--image-shape", "8,9"], "--image-shape 8,9 has 72 elements, but a"),
        (["--layers", SMALL, "--image-shape", "8"], "--image-shape must be two or three numbers"),
        (["--layers", SMALL, "--hidden", "8"], "--hidden and --layers both name the hidden"),
        (["--image-shape", "8,8"], "--image-shape needs --layers"),
        (
            ["--layers", "conv:3:9", "--image-shape", "8,8"],
            "--layers: number 1, 'conv:3:9': Con",
        ),
    ],
)
def test_the_command_line_says_what_is_wrong(tmp_path, monkeypatch, capsys, options, sentence):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert sentence in err
    assert not list(tmp_path.iterdir())
