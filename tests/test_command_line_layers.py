"""``fastbcd train --layers``: convolutional networks on the command line."""

import json

import numpy as np
import pytest
from command import fastbcd, history
from test_data import write_idx_folder, write_npz

from fastbcd import Model
from fastbcd.layers import Conv2d, Dense

DIGITS = ("--image-shape", "8,8", "--layers", "conv:4:3:2,dense:16", "--quiet")


def trained(*arguments, cwd):
    """The history and the model of a run with these options, and the accuracy of ``predict``."""
    folder = cwd / "run"
    out, err = fastbcd("train", *arguments, "--quiet", "--out", folder, cwd=cwd)
    assert (out, err) == ("", "")
    predicted, _ = fastbcd("predict", folder, cwd="/")
    rows = history(folder)
    assert f"accuracy {rows[-1]['test_accuracy']} on" in predicted
    return rows, Model.load(folder / "model.safetensors")


@pytest.mark.parametrize("algorithm", ["three-splitting", "two-splitting"])
def test_full_batches_of_digits_descend_and_the_stored_model_predicts_the_same(algorithm, tmp_path):
    options = ("--batch-size", "full", "--algorithm", algorithm, "--epochs", 4)
    rows, model = trained(*DIGITS, *options, cwd=tmp_path)
    F = np.array([float(row["objective"]) for row in rows])
    assert (np.diff(F) < 0.0).all()
    assert model.image_shape == (8, 8)
    assert model.network.layers == [Conv2d((8, 8, 1), 4, 3, 2), Dense(36, 16), Dense(16, 10)]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["hidden"], config["layers"]) == (None, DIGITS[3])
    assert (model.preprocessing.shift == model.preprocessing.shift[0]).all()


def test_mini_batches_of_digits_learn(tmp_path):
    rows, _ = trained(*DIGITS, "--batch-size", 50, "--epochs", 5, cwd=tmp_path)
    assert float(rows[-1]["test_accuracy"]) > 0.5


def test_the_shape_of_images_is_that_of_the_files(tmp_path):
    write_idx_folder(tmp_path / "images")
    rng = np.random.default_rng(0)
    X = {name: rng.standard_normal((n, 3, 4, 2)) for name, n in (("X_train", 20), ("X_test", 6))}
    write_npz(tmp_path / "arrays.npz", **X)
    for data, shape in (("images", (3, 2, 1)), ("arrays.npz", (3, 4, 2))):
        (tmp_path / f"of-{data}").mkdir()
        options = (tmp_path / data, "--layers", "conv:2:2", "--epochs", 2)
        _, model = trained(*options, cwd=tmp_path / f"of-{data}")
        assert model.network.layers[0] == Conv2d(shape, 2, 2)


def test_an_interrupted_run_goes_on_with_its_layers(tmp_path):
    options = (*DIGITS, "--batch-size", "full", "--epochs", 3)
    _, model = trained(*options, cwd=tmp_path)
    folder = tmp_path / "again"
    fastbcd("train", *options, "--checkpoint-every", 1, "--out", folder, cwd=tmp_path)
    for name in ("summary.json", "model.safetensors"):  # as if it had been killed at the end
        (folder / name).unlink()
    fastbcd("train", "--resume", folder, "--quiet", cwd=tmp_path)
    resumed = Model.load(folder / "model.safetensors")
    for own, other in zip(resumed.network.W, model.network.W, strict=True):
        np.testing.assert_array_equal(own, other)


REFUSED = {
    "--hidden does not go with --layers; give only one": (*DIGITS, "--hidden", "8"),
    "--layers: number 1, 'conv:4:3': it takes images (height, width, channels), but its inputs are "
    "rows of 64 numbers; give the shape of the images: --image-shape H,W,C": (
        *("--layers", "conv:4:3"),
    ),
    "--layers: number 2, 'conv:4:3:1': Conv2d: a kernel of 3 x 3 is larger": (
        *("--layers", "conv:4:3:4,conv:4:3:1"),
        *("--image-shape", "8,8"),
    ),
    "--layers: number 1, 'cone:4': unknown name 'cone'; the forms are": ("--layers", "cone:4"),
    "--image-shape needs --layers": ("--image-shape", "8,8"),
    "--image-shape must be H,W or H,W,C, got '8'": ("--layers", "dense:4", "--image-shape", "8"),
    "--image-shape: an image of 8,8,3 has 192 numbers, but a sample 64": (
        *("--layers", "dense:4"),
        *("--image-shape", "8,8,3"),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_options_that_do_not_fit_are_refused(message, tmp_path):
    _, err = fastbcd("train", *REFUSED[message], cwd=tmp_path, status=2)
    assert message in err


def test_a_shape_that_the_files_contradict_is_refused(tmp_path):
    write_idx_folder(tmp_path / "images")
    options = ("--layers", "conv:2:2", "--image-shape", "2,3")
    _, err = fastbcd("train", tmp_path / "images", *options, cwd=tmp_path, status=2)
    assert "--image-shape: images are of shape (2, 3), but DATA has (3, 2)" in err
