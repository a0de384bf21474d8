"""Pictures of filters and of missed images: what is drawn is what the arrays hold."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from fastbcd import InputError
from fastbcd.kernels import linear, relu
from fastbcd.layers import Conv2d, Dense
from fastbcd.models.network import Network
from fastbcd.plots import plot_filters, plot_missed

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    pyplot.close("all")


def network_of(first):
    layers = [first, Dense(first.d_out, 2)]
    W = [RNG.standard_normal(layer.weight_shape) for layer in layers]
    return Network(W, [relu(), linear()], [False, False], layers)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_tile_is_a_filter_over_its_largest_weight(channels):
    network = network_of(Conv2d((6, 6, channels), 7, (3, 2)))
    ax = plot_filters(network)
    (picture,) = ax.images
    drawn = np.asarray(picture.get_array())
    filters = network.W[0][:, :-1].reshape(7, 3, 2, channels)
    columns = (drawn.shape[1] + 1) // 3
    for k, expected in enumerate(filters):
        top, left = 4 * (k // columns), 3 * (k % columns)
        tile = drawn[top : top + 3, left : left + 2].reshape(3, 2, channels)
        expected = expected / np.abs(expected).max()
        np.testing.assert_allclose(tile, expected if channels == 1 else 0.5 + 0.5 * expected)
    assert ax.get_title(loc="left") == "7 filters of 3 x 2"
    if channels == 1:  # 0 is white, in the middle of the colours
        assert picture.get_clim() == (-1.0, 1.0)


def test_filters_of_zeros_are_drawn_too():
    network = network_of(Conv2d((5, 5, 1), 2, 3))
    network.W[0][0] = 0.0
    assert np.isfinite(np.asarray(plot_filters(network).images[0].get_array())[:3, :3]).all()


def test_networks_without_filters_that_can_be_drawn_are_refused():
    with pytest.raises(InputError, match="of a Conv2d, but the first layer is a Dense"):
        plot_filters(Network([np.ones((2, 4))], [linear()], [False]))
    with pytest.raises(InputError, match="images of 2 channels, and only those of 1 or 3"):
        plot_filters(network_of(Conv2d((5, 5, 2), 2, 3)))


def test_missed_images_come_with_the_surest_first():
    images = RNG.random((6, 12))
    labels = np.array(["a", "b", "a", "b", "c", "c"])
    predicted = np.array(["a", "a", "b", "b", "c", "a"])
    probabilities = np.array([0.9, 0.5, 0.8, 0.9, 0.9, 0.6])
    figure = plot_missed(images, labels, predicted, (4, 3), probabilities)
    shown = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in shown] == ["a > b", "c > a", "b > a"]
    scaled = (images - images.min()) / (images.max() - images.min())
    for ax, k in zip(shown, (2, 5, 1), strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), scaled[k].reshape(4, 3))
    assert figure.get_suptitle() == "3 of 6 images missed, true > predicted"


def test_missed_images_of_colours_go_into_a_given_figure():
    images, labels = RNG.integers(0, 256, (5, 2, 2, 3)), np.arange(5)
    figure = Figure()
    assert plot_missed(images, labels, labels[::-1], (2, 2, 3), np.eye(5), 3, figure) is figure
    assert sum(bool(ax.images) for ax in figure.axes) == 3


def test_arrays_that_do_not_fit_are_refused():
    images, labels = np.zeros((3, 4)), np.array([0, 1, 2])
    cases = [
        ((images, labels, labels, (2, 2)), "all 3 images have the right class"),
        ((images, labels, labels[:2], (2, 2)), r"predicted: one for each of the 3 images"),
        ((images, labels, labels, (2, 3)), r"shape \(3, 4\) holds no images of 2 x 3 with 1"),
        ((images, labels, labels, (4,)), r"image_shape must be \(height, width\), or"),
        ((images, labels, labels[::-1], (2, 2), np.zeros(2)), "probabilities: a row for each"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            plot_missed(*arguments)
