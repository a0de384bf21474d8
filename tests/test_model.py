"""A model on disk: what it predicts, and which files are refused."""

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from fastbcd import InputError
from fastbcd.data import Preprocessing
from fastbcd.kernels import linear, relu
from fastbcd.model import Model
from fastbcd.network import Network


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3))
    weights = [rng.standard_normal((5, 4)), rng.standard_normal((2, 6))]
    network = Network(weights, [relu(), linear()], [False, False])
    return Model(network, np.array(["a", "b"]), Preprocessing.fit(X))


def edited(path, target, drop=(), **change):
    """The model file at `path` with other metadata, as a file in `target`."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = {**json.loads(header["__metadata__"]["fastbcd"]), **change}
    metadata = {key: value for key, value in metadata.items() if key not in drop}
    target.write_bytes(save(load(content), {"fastbcd": json.dumps(metadata)}))
    return target


def test_extreme_values_are_cut_after_loading_as_before_saving(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    far, farther = np.full((1, 3), 1e6), np.full((1, 3), 1e9)
    np.testing.assert_array_equal(loaded.outputs(far), model.outputs(far))
    np.testing.assert_array_equal(loaded.outputs(far), loaded.outputs(farther))


def test_a_file_of_the_first_format_loads_without_a_limit(model, tmp_path):
    model.save(tmp_path / "model")
    old = Model.load(edited(tmp_path / "model", tmp_path / "old", drop=("limit",), format=1))
    assert old.preprocessing.limit == np.inf
    assert np.abs(old.outputs(np.full((1, 3), 1e6))).max() > 1e5


@pytest.mark.parametrize("limit", [0, -1, "x", float("nan")])
def test_a_limit_that_is_none_is_refused(model, tmp_path, limit):
    model.save(tmp_path / "model")
    with pytest.raises(InputError, match="is not a fastbcd model, or damaged"):
        Model.load(edited(tmp_path / "model", tmp_path / "bad", limit=limit))


def test_a_file_of_a_later_format_is_refused(model, tmp_path):
    model.save(tmp_path / "model")
    with pytest.raises(InputError, match=r"has format 3; this version reads 1 and 2"):
        Model.load(edited(tmp_path / "model", tmp_path / "new", format=3))
