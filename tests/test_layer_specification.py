"""Layers as texts and as settings in a file."""

from dataclasses import dataclass

import numpy as np
import pytest
from layer_types import Scaling

from fastbcd import InputError, Model, Network, Problem, ThreeSplitting
from fastbcd.callbacks import Objective
from fastbcd.data import Preprocessing
from fastbcd.files.checksummed import read_checksummed, write_checksummed
from fastbcd.kernels import linear, relu
from fastbcd.layers import (
    AveragePool2d,
    Conv2d,
    Dense,
    GroupedConv2d,
    MaxPool2d,
    build_layers,
    specification,
)
from fastbcd.layers.specification import Form, layer_of, settings_of


@dataclass(frozen=True)
class Halved(Scaling):
    """A scaling of images, such as a pooling layer could be: it has no weights."""

    name = "halved"

    @property
    def image_out(self):
        return (2, 2, self.d_out // 4)


def halved(image, factor):
    d = int(np.prod(image))
    return Halved(d, d, 1 / factor)


@pytest.fixture
def with_halved(monkeypatch):
    forms = {**specification.FORMS, "halve": Form("halve:FACTOR", halved)}
    monkeypatch.setattr(specification, "FORMS", forms)
    stored = {**specification.STORED, "halved": (Halved, ("d_in", "d_out", "s"))}
    monkeypatch.setattr(specification, "STORED", stored)


BUILT = {
    "conv:4:3": [Conv2d((8, 8, 3), 4, 3)],
    "conv:4:3:2": [Conv2d((8, 8, 3), 4, 3, 2)],
    "conv:4:3x1:2x1:1x0": [Conv2d((8, 8, 3), 4, (3, 1), (2, 1), (1, 0))],
    "dense:7,dense:5": [Dense(192, 7), Dense(7, 5)],
    "conv:4:3, conv:2:6 ,dense:7": [Conv2d((8, 8, 3), 4, 3), Conv2d((6, 6, 4), 2, 6), Dense(2, 7)],
    "conv:6:3:2:1:3": [GroupedConv2d((8, 8, 3), 6, 3, 2, 1, groups=3)],
    "conv:4:3:1:1,dense:7": [Conv2d((8, 8, 3), 4, 3, 1, 1), Dense(256, 7)],
    "conv:4:3:1:1,maxpool:2x4,averagepool:global": [
        Conv2d((8, 8, 3), 4, 3, 1, 1),
        MaxPool2d((8, 8, 4), (2, 4)),
        AveragePool2d((4, 2, 4), "global"),
    ],
}


@pytest.mark.parametrize("text", BUILT)
def test_a_text_is_the_layers_that_it_names_and_a_dense_one_to_the_outputs(text):
    layers = build_layers(text, (8, 8, 3), 10)
    assert layers == [*BUILT[text], Dense(BUILT[text][-1].d_out, 10)]
    assert layers == build_layers(text.split(","), [8, 8, 3], 10)


def test_images_of_two_axes_have_one_channel_and_dense_layers_take_rows():
    assert build_layers("conv:4:3", (8, 8), 2) == [Conv2d((8, 8, 1), 4, 3), Dense(144, 2)]
    assert build_layers(["dense:3"], (5,), 2) == [Dense(5, 3), Dense(3, 2)]
    assert build_layers([], (5,), 2) == [Dense(5, 2)]


def test_another_type_is_one_line_in_each_table(with_halved):
    layers = build_layers("conv:3:7,halve:2,dense:4", (8, 8, 1), 2)
    assert layers[1] == Halved(12, 12, 0.5)
    assert layers[2:] == [Dense(12, 4), Dense(4, 2)]
    assert layer_of(settings_of(layers[1])) == layers[1]


REFUSED = {
    "conv:8:3,conv:32:9": r"layers: number 2, 'conv:32:9': Conv2d: a kernel of 9 x 9 is larger "
    r"than an image of 6 x 6 with padding 0 x 0",
    "dense:8,conv:4:3": r"layers: number 2, 'conv:4:3': it takes images \(height, width, "
    r"channels\), but its inputs are rows of 8 numbers; put it before the dense layers",
    "kernel:3": r"layers: number 1, 'kernel:3': unknown name 'kernel'; the forms are "
    r"conv:CHANNELS:KERNEL\[:STRIDE\[:PADDING\[:GROUPS\]\]\], maxpool:WINDOW, "
    r"averagepool:WINDOW\|global, dense:WIDTH",
    "conv:3": r"layers: number 1, 'conv:3': it has 1 argument, but the form is conv:CHANNELS:",
    "dense:3:1": r"number 1, 'dense:3:1': it has 2 arguments, but the form is dense:WIDTH",
    "conv:3:2.5": r"number 1, 'conv:3:2.5': '2.5' is no size; the form is conv:CHANNELS",
    "conv:3:2:0": r"number 1, 'conv:3:2:0': Conv2d: stride must be an integer of at least 1",
    "conv:global:2": r"number 1, 'conv:global:2': Conv2d: channels must be an integer of at least",
    "conv:4:3,conv:6:3:1:1:4": r"number 2, 'conv:6:3:1:1:4': Conv2d: 4 groups do not divide the 4 "
    r"channels of the images below and the 6 channels of the layer$",
    "conv:4:3:1:1:0": r"number 1, 'conv:4:3:1:1:0': Conv2d: groups must be an integer of at least",
    "dense:0": r"number 1, 'dense:0': its width must be an integer of at least 1, got 0",
    "dense:": r"number 1, 'dense:': '' is no size",
    "": r"number 1, '': unknown name ''; the forms are",
}


@pytest.mark.parametrize("text", REFUSED)
def test_errors_name_the_layer_and_the_shapes(text):
    with pytest.raises(InputError, match=REFUSED[text]) as refusal:
        build_layers(text, (8, 8, 1), 2)
    assert "\n" not in str(refusal.value)


def test_flat_inputs_and_other_types_are_refused():
    with pytest.raises(InputError, match=r"rows of 64 numbers; give the shape of the images"):
        build_layers("conv:4:3", (64,), 2)
    for given in (7, [7], [("conv", 3)]):
        with pytest.raises(InputError, match="layers must be texts of the forms conv:CHANNELS"):
            build_layers(given, (8, 8, 1), 2)


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [Conv2d((8, 6, 2), 3, (3, 2), 2, 1, steps=7), Dense(3, 2)])
def test_a_layer_is_the_same_after_its_settings(layer):
    assert layer_of(settings_of(layer)) == layer


def model():
    layers = build_layers("conv:3:3:2,conv:2:2,dense:4", (8, 8, 1), 2)
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(layer.weight_shape) for layer in layers]
    activations = [relu(), relu(), relu(), linear()]
    network = Network(weights, activations, [False] * 4, layers)
    scaling = Preprocessing(np.zeros(1), np.ones(1))
    return Model(network, np.array(["a", "b"]), scaling, image_shape=(8, 8, 1))


@pytest.fixture
def saved(tmp_path):
    model().save(tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_model_of_convolutions_predicts_the_same(saved):
    images = np.random.default_rng(1).standard_normal((20, 8, 8))
    loaded = Model.load(saved)
    np.testing.assert_array_equal(loaded.outputs(images), model().outputs(images))
    assert loaded.network.layers == model().network.layers
    assert read_checksummed(saved, "model")[1]["format"] == 5


def test_dense_networks_are_written_as_earlier_versions_read_them(tmp_path):
    network = Network([np.ones((2, 3))], [linear()], [False])
    Model(network, np.array([0, 1]), Preprocessing(np.zeros(1), np.ones(1))).save(tmp_path / "m")
    metadata = read_checksummed(tmp_path / "m", "model")[1]
    assert metadata["format"] == 4
    assert "layers" not in metadata


def test_what_a_file_says_of_layers_is_checked(saved, tmp_path):
    arrays, metadata = read_checksummed(saved, "model")
    first, *others = metadata["layers"]
    for layers, message in (
        (
            [{**first, "type": "conv9d"}, *others],
            "type 'conv9d' is unknown; known: conv2d",
        ),
        ([{**first, "version": 2}, *others], "layers: conv2d: it is stored in version 2, and"),
        ([{**first, "groups": 2}, *others], "layers: conv2d: 'groups' is unknown; its keys are"),
        ([{k: first[k] for k in first if k != "steps"}, *others], "conv2d: 'steps' is missing"),
        ([{**first, "kernel": 2}, *others], "number 2, Conv2d.* takes images"),
        ([{**first, "kernel": 4, "stride": 2}, *others], "do not have the sizes it names"),
        (others, "damaged: "),
        ([None, *others], "type None is unknown"),
    ):
        write_checksummed(tmp_path / "bad", arrays, {**metadata, "layers": layers})
        with pytest.raises(InputError, match=f"bad is not a fastbcd model, .*{message}"):
            Model.load(tmp_path / "bad")


def test_a_type_of_ones_own_is_not_written(tmp_path):
    layers = [Scaling(2, 2, 3.0), Dense(2, 2)]
    network = Network([np.empty((0, 0)), np.ones((2, 3))], [linear()] * 2, [False] * 2, layers)
    scaling = Preprocessing(np.zeros(1), np.ones(1))
    with pytest.raises(InputError, match="scaling is not one of this package's types"):
        Model(network, np.array([0, 1]), scaling).save(tmp_path / "m")


def test_layers_of_a_text_are_trained():
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((30, 64)), np.eye(2)[rng.integers(2, size=30)]
    layers = build_layers("conv:2:3:2,dense:4", (8, 8, 1), 2)
    problem = Problem(layers=layers)
    assert problem == Problem([64, *(layer.d_out for layer in layers)], layers=layers)
    result = ThreeSplitting(problem).fit(X, Y, max_iter=3, callbacks=[Objective()])
    F = [row["objective"] for row in result.history]
    assert len(F) == 3
    assert (np.diff(F) < 0.0).all()
    assert result.network.layers == layers


def test_a_model_of_pools_predicts_the_same_after_a_file(tmp_path):
    layers = build_layers("conv:3:2:2:1,maxpool:1x5,averagepool:global,dense:4", (8, 8, 2), 2)
    rng = np.random.default_rng(0)
    W = [rng.normal(size=layer.weight_shape) for layer in layers]
    activations = [relu() if layer.has_activation else linear() for layer in layers[:-1]]
    network = Network(W, [*activations, linear()], [False] * len(layers), layers)
    unscaled = Preprocessing(np.zeros(1), np.ones(1))
    model = Model(network, np.array([0, 1]), unscaled, image_shape=(8, 8, 2))
    model.save(tmp_path / "model.safetensors")
    read = Model.load(tmp_path / "model.safetensors")
    assert read.network.layers == layers
    X = rng.random((5, 8, 8, 2))
    np.testing.assert_array_equal(read.outputs(X), model.outputs(X))
    with pytest.raises(InputError, match=r"trained on images of shape \(8, 8, 2\), but X has"):
        read.outputs(X.transpose(0, 3, 1, 2))
