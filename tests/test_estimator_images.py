"""Estimators with layers for images: shapes are kept and checked, and scaling is by channel."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

from fastbcd import BCDClassifier, BCDRegressor, InputError, Model
from fastbcd.data import Preprocessing
from fastbcd.layers import Conv2d, Dense

DIGITS = load_digits()
IMAGES, LABELS = DIGITS.images[:300], DIGITS.target[:300]
ROWS = IMAGES.reshape(300, 64)
LAYERS = "conv:4:3:2,dense:16"


def quick(**options):
    return BCDClassifier(**{"layers": LAYERS, "max_iter": 2, "random_state": 0} | options)


@pytest.fixture(scope="module")
def fitted():
    return quick(max_iter=40).fit(IMAGES, LABELS)


def colours(n=40):
    """Images of two kinds, with channels of very different sizes."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=n)
    X = rng.standard_normal((n, 5, 6, 3)) * [1.0, 100.0, 0.01] + [0.0, 500.0, 3.0]
    X[y == 1, :2] += [2.0, 200.0, 0.02]
    return X, y


def test_convolutions_learn_digits_and_a_model_file_predicts_the_same(fitted, tmp_path):
    images, labels = DIGITS.images[300:600], DIGITS.target[300:600]
    assert fitted.network_.layers == [Conv2d((8, 8, 1), 4, 3, 2), Dense(36, 16), Dense(16, 10)]
    assert fitted.score(images, labels) > 0.5
    fitted.model_.save(tmp_path / "model")
    model = Model.load(tmp_path / "model")
    assert model.image_shape == (8, 8, 1)
    np.testing.assert_array_equal(model.predict(images), fitted.predict(images))
    np.testing.assert_array_equal(model.predict(images[..., None]), fitted.predict(images))
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(images), fitted.predict_proba(images))


def test_images_and_their_rows_are_the_same(fitted):
    by_rows = clone(fitted).set_params(image_shape=(8, 8)).fit(ROWS, LABELS)
    with_channel = clone(fitted).fit(IMAGES[..., None], LABELS)
    expected = fitted.predict_proba(IMAGES)
    for estimator in (by_rows, with_channel):
        for X in (IMAGES, IMAGES[..., None], ROWS):
            np.testing.assert_array_equal(estimator.predict_proba(X), expected)


@pytest.mark.parametrize("solver", ["three-splitting", "two-splitting"])
def test_full_batches_with_convolutions_descend(solver):
    estimator = quick(solver=solver, loss="squared", max_iter=4).fit(IMAGES[:60], LABELS[:60])
    assert len(estimator.loss_curve_) == 4
    assert (np.diff(estimator.loss_curve_) < 0.0).all()


def test_a_regressor_and_a_stream_take_images():
    X, y = colours()
    regressor = BCDRegressor(layers="conv:3:3", max_iter=60, random_state=0).fit(X, y)
    assert regressor.score(X, y) > 0.5
    stream = quick(layers="conv:3:3")
    for _ in range(20):
        for part in (slice(0, 20), slice(20, 40)):
            stream.partial_fit(X[part], y[part], classes=[0, 1])
    assert stream.score(X, y) > 0.9


def test_all_pixels_of_a_channel_have_one_scale():
    X, y = colours()
    for kind, limit in (("standard", np.inf), ("clipped", 5.0), ("auto", 5.0)):
        scaling = quick(layers="conv:3:3", preprocess=kind).fit(X, y).model_.preprocessing
        mean, deviation = X.mean(axis=(0, 1, 2)), X.std(axis=(0, 1, 2))
        np.testing.assert_allclose(scaling.shift.reshape(5, 6, 3) - mean, 0.0, atol=1e-10)
        np.testing.assert_allclose(scaling.scale.reshape(5, 6, 3) * deviation, 1.0, rtol=1e-10)
        assert scaling.limit == limit
    grey = (X * 10 % 256).astype(np.uint8)
    scaling = quick(layers="conv:3:3").fit(grey, y).model_.preprocessing
    np.testing.assert_array_equal(scaling.scale, [1.0 / grey.max()])


def test_a_stream_keeps_one_scale_for_a_channel_when_its_size_changes():
    X, y = colours()
    stream = quick(layers="conv:3:3").partial_fit(X[:20], y[:20], classes=[0, 1])
    before = stream.model_.preprocessing.scale
    for _ in range(3):
        stream.partial_fit(100.0 * X[20:], y[20:])
    after = stream.model_.preprocessing.scale.reshape(30, 3)
    assert (after == after[0]).all()
    assert (after[0] < before[:3] / 4).all()


def test_constant_channels_become_zero():
    X = colours()[0]
    X[..., 1] = 7.0
    scaling = Preprocessing.fit(X.reshape(40, 90), "standard", channels=3)
    assert (scaling.scale.reshape(30, 3)[:, 1] == 0.0).all()
    assert (scaling.scale.reshape(30, 3)[:, [0, 2]] > 0.0).all()


REFUSED = {
    r"layers: number 1, 'conv:4:3:2': it takes images .* rows of 64 numbers; give the shape of "
    r"the images: X may be \(n, H, W, C\), or rows \(n, d\) with image_shape": ({}, ROWS),
    r"layers: number 1, 'conv:4:9': Conv2d: a kernel of 9 x 9 is larger than an image of 8 x 8": (
        {"layers": "conv:4:9"},
        IMAGES,
    ),
    r"layers and hidden_layer_sizes=\(8,\) both name the hidden layers; give only one": (
        {"hidden_layer_sizes": 8},
        IMAGES,
    ),
    r"image_shape needs layers": ({"layers": None, "image_shape": (8, 8)}, ROWS),
    r"X has 64 features, but an image of shape \(8, 4, 3\) has 96": (
        {"image_shape": (8, 4, 3)},
        ROWS,
    ),
    r"image_shape: images are of shape \(4, 16, 1\), but X has \(8, 8, 1\)": (
        {"image_shape": (4, 16)},
        IMAGES,
    ),
    r"image_shape must be \(H, W, C\) or \(H, W\), got 64": ({"image_shape": 64}, ROWS),
    r"image_shape must be an integer of at least 1, got 0": ({"image_shape": (0, 8)}, ROWS),
    r"X must be images .* got shape \(300, 8, 8, 1, 1\)": ({}, IMAGES[..., None, None]),
    r"channels first": (
        {},
        np.zeros((300, 3, 32, 32)),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_shapes_that_do_not_fit_are_refused(message):
    options, X = REFUSED[message]
    with pytest.raises(InputError, match=message):
        quick(**options).fit(X, LABELS)


def test_without_layers_images_are_refused_as_everywhere_in_scikit_learn():
    with pytest.raises(ValueError, match="dim 3.*dim <= 2 is required"):
        quick(layers=None).fit(IMAGES, LABELS)


def test_predictions_need_images_of_the_same_shape(fitted):
    for X, message in (
        (IMAGES[:, :, :4], r"was trained on images of shape \(8, 8, 1\), but X has \(8, 4"),
        (np.ones((2, 4, 4, 4)), r"trained on images of shape \(8, 8, 1\), but X has \(4, 4, 4\)"),
        (ROWS[:, :32], r"X has 32 features, but an image of shape \(8, 8, 1\) has 64"),
    ):
        with pytest.raises(InputError, match=message):
            fitted.predict(X)
    later = pickle.loads(pickle.dumps(fitted)).set_params(image_shape=(4, 16))
    with pytest.raises(InputError, match=r"image_shape is \(4, 16, 1\), but the network was trai"):
        later.predict(ROWS)


def test_training_goes_on_with_the_same_layers_only():
    estimator = quick(layers="conv:4:3", warm_start=True).fit(IMAGES, LABELS)
    estimator.fit(IMAGES, LABELS)
    assert estimator.n_iter_ == 4
    for layers, message in (
        ("conv:5:3", r"layers: the network so far has widths \(64, 144, 10\), but now they should"),
        ("dense:144", r"layers: .* of layers of other types or settings"),
    ):
        with pytest.raises(InputError, match=message):
            estimator.set_params(layers=layers).fit(IMAGES, LABELS)


def test_pools_learn_digits():
    model = quick(layers="conv:3:3,maxpool:2,dense:12", max_iter=12)
    model.fit(DIGITS.images[:1200].astype(np.uint8), DIGITS.target[:1200])
    assert model.score(DIGITS.images[1200:].astype(np.uint8), DIGITS.target[1200:]) > 0.8
