"""A model on disk: its predictions, and the files that are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from fastbcd import InputError, Model, Network
from fastbcd.data import Preprocessing
from fastbcd.files.checksummed import read_checksummed, write_checksummed
from fastbcd.kernels import Formula, leaky_relu, linear, relu
from fastbcd.models.probabilities import probabilities

MODELS = Path(__file__).parent / "models"
X = np.random.default_rng(0).standard_normal((100, 3)) * [1, 10, 100]


def make(classes=("a", "b"), k=2, dtype=np.float64, **parts):
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal((5, 4), dtype), rng.standard_normal((k, 6), dtype)]
    network = Network(weights, [leaky_relu(0.1), linear()], [False, False])
    classes = np.array(classes) if isinstance(classes, tuple) else classes
    return Model(network, classes, Preprocessing.fit(X), **parts)


@pytest.fixture
def model():
    return make()


@pytest.fixture
def saved(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


def edited(path, target, drop=(), **change):
    """The model file at `path` with other metadata and a good checksum, as a file in `target`."""
    arrays, metadata = read_checksummed(path, "model")
    metadata = {key: value for key, value in {**metadata, **change}.items() if key not in drop}
    write_checksummed(target, arrays, metadata)
    return target


def test_extreme_values_are_cut_after_loading_as_before_saving(model, saved):
    loaded = Model.load(saved)
    far, farther = np.full((1, 3), 1e6), np.full((1, 3), 1e9)
    np.testing.assert_array_equal(loaded.outputs(far), model.outputs(far))
    np.testing.assert_array_equal(loaded.outputs(far), loaded.outputs(farther))


@pytest.mark.parametrize(
    "classes",
    [
        *(np.array(["no", 'yes, "it" is ä']), np.array(["a", "b"], object), np.array([-3, 2**62])),
        *(np.array([False, True]), np.array([1.0, 2.0]), np.array([0.1, 0.3], np.float32)),
        *(np.array([3, 255], np.uint8), np.array([1, 2**64 - 1], np.uint64)),
    ],
    ids=lambda classes: classes.dtype.str,
)
def test_classes_keep_type_and_values(tmp_path, classes):
    make(classes).save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert loaded.classes.dtype == classes.dtype
    assert loaded.predict(X).dtype == classes.dtype
    np.testing.assert_array_equal(loaded.predict(X), classes[make().outputs(X).argmax(axis=1)])


@pytest.mark.parametrize(
    "classes",
    [np.array([b"a", b"b"]), np.array([1, 2], complex), np.array([1, 2], "M8[D]"),
     np.array([1.0, np.nan]), np.array([(1,), None], object)],
    ids=str,
)  # fmt: skip
def test_classes_that_a_file_cannot_hold_are_refused_before_writing(tmp_path, classes):
    with pytest.raises(InputError, match="classes: a file holds numbers of up to 8 bytes"):
        make(classes).save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_are_those_of_the_loss_before_and_after_saving(tmp_path, dtype):
    model = make(dtype=dtype, loss="exponential")
    model.save(tmp_path / "model")
    loaded = Model.load(str(tmp_path / "model"))
    p = loaded.predict_proba(X)
    assert p.dtype == np.float64
    np.testing.assert_array_equal(p, model.predict_proba(X, n_threads=1))
    np.testing.assert_array_equal(p, probabilities("exponential", model.outputs(X)))


def test_probabilities_that_nobody_knows_are_refused():
    for model, message in [
        (make(), "does not say which loss it was trained with"),
        (make(loss="hinge"), "loss: hinge gives no probabilities"),
        (make(classes=None, loss="squared"), "predicts numbers, not classes"),
    ]:
        with pytest.raises(InputError, match=message):
            model.predict_proba(X)


def test_regression_gives_numbers_in_the_units_of_the_targets(tmp_path):
    shift, scale = np.array([1e9, -3.0]), np.array([1e-3, 20.0])
    model = make(None, dtype=np.float32, target_shift=shift, target_scale=scale)
    model.save(tmp_path / "model")
    predicted = Model.load(tmp_path / "model").predict(X)
    assert predicted.dtype == np.float64
    assert predicted.shape == (100, 2)
    np.testing.assert_array_equal(predicted, model.outputs(X).astype(float) * scale + shift)
    # As they are without a scale, and a vector for one target.
    np.testing.assert_array_equal(make(None).predict(X), make(None).outputs(X))
    one = make(None, k=1, target_scale=np.array([2.0]))
    np.testing.assert_array_equal(one.predict(X), 2 * one.outputs(X)[:, 0])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"classes": ("a", "b", "c")}, "classes must be one for each of the 2 outputs"),
        ({"target_scale": np.ones(2)}, "target_scale is for regression, but there are classes"),
        ({"classes": None, "target_shift": np.ones(3)}, r"target_shift must be \(2,\) finite"),
        ({"classes": None, "target_scale": [np.nan, 1]}, r"target_scale must be \(2,\) finite"),
        ({"feature_names": ["a"]}, "feature_names has 1 names, needed: 3"),
        ({"loss": 3}, "loss must be the name of a loss, got 3"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts, message):
    with pytest.raises(InputError, match=message):
        make(**parts)


def test_an_activation_of_a_users_own_cannot_be_written(model, tmp_path):
    model.network.activations[0] = Formula("mine", value=relu().functions["value"])
    with pytest.raises(InputError, match="activation: mine is not one of this package's"):
        model.save(tmp_path / "model")
    # The name of ours does not make it ours.
    model.network.activations[0] = Formula("tanh", value=relu().functions["value"])
    with pytest.raises(InputError, match="activation: tanh is not one of this package's"):
        model.save(tmp_path / "model")


def test_the_same_model_gives_the_same_bytes(model, saved, tmp_path):
    Model.load(saved).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("limit", [0, -1, "x", float("nan")])
def test_a_limit_that_is_none_is_refused(saved, tmp_path, limit):
    with pytest.raises(InputError, match="is not a fastbcd model, or damaged: .*limit|float"):
        Model.load(edited(saved, tmp_path / "bad", limit=limit))


@pytest.mark.parametrize(
    "change",
    [
        *({"widths": [3, 4, 2]}, {"widths": [3, 5]}, {"widths": "352"}),
        *({"activations": ["relu"]}, {"activations": ["relu", "mine"]}, {"residual": [False]}),
        {"classes": {"type": "<i8", "values": [1]}},
        {"classes": {"type": "|O", "values": [{}, {}]}},
        {"classes": {"type": "x", "values": [1, 2]}},
        *({"classes": [1, 2]}, {"feature_names": "abc"}, {"feature_names": [1, 2, 3]}, {"loss": 5}),
    ],
    ids=json.dumps,
)  # fmt: skip
def test_metadata_that_do_not_fit_are_refused_in_spite_of_a_good_checksum(saved, tmp_path, change):
    with pytest.raises(InputError, match="bad is not a fastbcd model, or damaged: "):
        Model.load(edited(saved, tmp_path / "bad", **change))


@pytest.mark.parametrize("key", ["widths", "activations", "residual", "classes", "loss"])
def test_metadata_that_lack_are_named(saved, tmp_path, key):
    with pytest.raises(InputError, match=f"or damaged: metadata: '{key}' is missing; its keys are"):
        Model.load(edited(saved, tmp_path / "bad", drop=(key,)))


def test_keys_and_arrays_that_are_unknown_or_missing_are_named(saved, tmp_path):
    arrays, metadata = read_checksummed(saved, "model")
    for keys, names, message in (
        ({"colour": 3}, {}, "metadata: 'colour' is unknown; its keys are 'format', 'widths', "),
        ({}, {"W3": np.ones((2, 3))}, "arrays: 'W3' is unknown; its keys are 'W1', 'W2', 'shift'"),
        ({}, {"scale": None}, "arrays: 'scale' is missing"),
    ):
        kept = {name: A for name, A in {**arrays, **names}.items() if A is not None}
        write_checksummed(tmp_path / "bad", kept, {**metadata, **keys})
        with pytest.raises(InputError, match=f"bad is not a fastbcd model, or damaged: {message}"):
            Model.load(tmp_path / "bad")


def test_a_file_of_a_later_format_is_refused(saved, tmp_path):
    with pytest.raises(InputError, match=r"has format 8; this version reads 1 to 7"):
        Model.load(edited(saved, tmp_path / "new", format=8))


def test_a_checksummed_file_of_another_kind_is_refused(tmp_path):
    write_checksummed(tmp_path / "other", {"W1": np.ones((2, 3))}, {"format": 1, "iteration": 7})
    with pytest.raises(InputError, match="other is not a fastbcd model, or damaged: .* missing"):
        Model.load(tmp_path / "other")


def test_200_random_flips_of_bytes_are_refused(saved):
    content = saved.read_bytes()
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(content[:8], "little")
    places = np.concatenate([rng.integers(len(content), size=100), rng.integers(header, size=100)])
    for place, flip in zip(places, rng.integers(1, 256, size=200), strict=True):
        damaged = bytearray(content)
        damaged[place] ^= int(flip)
        saved.write_bytes(damaged)
        with pytest.raises(InputError) as refusal:
            Model.load(saved)
        message = str(refusal.value)
        assert message.startswith(f"{saved} is ")
        assert "damaged" in message
        assert "\n" not in message


def test_truncated_files_and_appended_bytes_are_refused(saved):
    content = saved.read_bytes()
    kept = [*range(0, len(content), 37), len(content) - 1]
    others = [content[:n] for n in kept] + [content + b"\0", content + b"x" * 1000, content * 2]
    for other in others:
        saved.write_bytes(other)
        with pytest.raises(InputError, match="damaged"):
            Model.load(saved)


@pytest.mark.parametrize("name", sorted(path.stem for path in MODELS.glob("*.json")))
def test_models_written_by_each_version_still_predict_the_same(name):
    model = Model.load(MODELS / f"{name}.safetensors")
    record = json.loads((MODELS / f"{name}.json").read_text())
    inputs = np.array(record["X"])
    dtype = model.network.W[0].dtype
    close = {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-10}
    np.testing.assert_allclose(model.outputs(inputs), record["outputs"], **close)
    assert model.feature_names == record["feature_names"]
    if record["classes"] is None:
        assert model.classes is None
        np.testing.assert_allclose(model.predict(inputs), record["predict"], **close)
    else:
        assert model.classes.tolist() == record["classes"]
        assert model.predict(inputs).tolist() == record["predict"]
    if "predict_proba" in record:
        np.testing.assert_allclose(model.predict_proba(inputs), record["predict_proba"], **close)


def test_there_is_an_old_model_of_every_format():
    formats = []
    for path in MODELS.glob("*.safetensors"):
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        formats.append(json.loads(header["__metadata__"]["fastbcd"])["format"])
        assert load(content).keys() >= {"W1", "W2", "shift", "scale"}
    assert sorted(formats) == [1, 2, 3, 3, 4, 5]


def test_old_models_know_no_loss_and_are_not_cut_unless_they_say_so():
    first, second = (Model.load(MODELS / f"format-{n}.safetensors") for n in (1, 2))
    assert first.loss is None
    assert second.loss is None
    assert first.preprocessing.limit == np.inf
    assert second.preprocessing.limit == 5.0
