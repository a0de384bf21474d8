"""A model knows names, order, kind and shape of its inputs, and compares new inputs with them."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
from data_forms import write

from fastbcd import BCDClassifier, BCDRegressor, InputError, Model
from fastbcd.cli.main import main
from fastbcd.data import load

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(RNG.normal(size=(60, 3)), columns=["dose", "age", "size"])
X = FRAME.to_numpy()
Y = (FRAME["dose"] > 0).to_numpy().astype(int)
GREY = RNG.integers(0, 256, (60, 2, 3)).astype(np.uint8)
QUICK = ["--epochs", "1", "--hidden", "4", "--quiet"]


class Frame:
    """A data frame that is not pandas', as polars' is: columns, and an array when asked."""

    def __init__(self, array, columns):
        self.array, self.columns, self.shape = array, columns, array.shape

    def __array__(self, dtype=None, copy=None):
        return self.array


def quick(**options):
    return BCDClassifier(hidden_layer_sizes=(4,), max_iter=1, random_state=0, **options)


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model"
    quick().fit(FRAME, Y).model_.save(path)
    return Model.load(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["age", "dose", "size"], "another order than in training: column 0 is 'age', but was 'd"),
        (["dose", "size", "age"], "another order than in training: column 1 is 'size', but was"),
        (["zzz", "age", "size"], "X has no column 'dose', which the model was trained on; it has"),
        (["dose", "age"], "X has no column 'size'"),
        (["dose", "age", "size", "x"], "X has a column 'x', which the model was not trained on"),
        (["dose", "age", "size", "age"], "X has the column 'age' twice"),
    ],
)
@pytest.mark.parametrize("kind", [pd.DataFrame, Frame])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "outputs"])
def test_other_columns_are_named(named, method, kind, columns, message):
    other = kind(RNG.normal(size=(5, len(columns))), columns=columns)
    with pytest.raises(InputError, match=message):
        getattr(named, method)(other)


def test_the_columns_of_training_are_taken(named):
    expected = named.predict(FRAME)
    assert named.predict(Frame(X, list(FRAME.columns))).tolist() == expected.tolist()
    assert named.predict(X, names=list(FRAME.columns)).tolist() == expected.tolist()
    with pytest.warns(UserWarning, match="X does not have feature names, but the model was trai"):
        assert named.predict(X).tolist() == expected.tolist()
    with pytest.warns(UserWarning, match="X does not have feature names"):
        named.predict(pd.DataFrame(X))  # numbers are no names
    with pytest.raises(InputError, match="another order"):
        named.predict(X, names=["age", "dose", "size"])


def test_names_that_a_model_does_not_have_are_a_warning():
    nameless = BCDRegressor((4,), max_iter=1, random_state=0).fit(X, X[:, 0]).model_
    with pytest.warns(UserWarning, match="X has feature names, but the model was trained without"):
        found = nameless.predict(FRAME)
    np.testing.assert_array_equal(found, nameless.predict(X))


KINDS = [
    ("u", GREY.reshape(60, 6), GREY.reshape(60, 6) / 255, "float64 with 0.* trained on unsigned"),
    ("u", GREY.reshape(60, 6), GREY.reshape(60, 6) - 255.0, "with -.* trained on unsigned"),
    ("u", GREY.reshape(60, 6), GREY.reshape(60, 6).astype(float), None),
    ("u", GREY.reshape(60, 6), GREY.reshape(60, 6).astype(np.int64), None),
    ("f", X, GREY.reshape(60, 6)[:, :3], "holds uint8, .* trained on floats: were they scaled"),
    ("f", X, X > 0, "holds bool, bools, but the model was trained on floats"),
    ("f", X, np.arange(180).reshape(60, 3), None),
    ("i", np.arange(180).reshape(60, 3), X, None),
    ("b", X > 0, X, "in row 0, column 0, but the model was trained on bools"),
    ("b", X > 0, (X > 0) * 2, "with 2 in row 0, column 0, but the model was trained on bools"),
    ("b", X > 0, (X > 0) * 1.0, None),
]


@pytest.mark.parametrize(("kind", "first", "later", "message"), KINDS)
def test_numbers_of_another_kind_are_refused_wherever_they_come(
    tmp_path, kind, first, later, message
):
    classifier = quick(warm_start=True).fit(first, Y)
    classifier.model_.save(tmp_path / "model")
    model = Model.load(tmp_path / "model")
    assert model.input_kind == kind
    uses = [
        *(model.predict, model.predict_proba, model.outputs),
        *(classifier.predict, classifier.predict_proba, classifier.decision_function),
        lambda other: classifier.partial_fit(other, Y),
        lambda other: classifier.score(other, Y),
        lambda other: classifier.fit(other, Y),
    ]
    for use in uses:
        if message is None:
            use(later)
        else:
            with pytest.raises(InputError, match=message):
                use(later)


def test_whole_numbers_as_floats_predict_the_same():
    classifier = quick().fit(GREY.reshape(60, 6), Y)
    np.testing.assert_array_equal(
        classifier.predict_proba(GREY.reshape(60, 6)),
        classifier.predict_proba(GREY.reshape(60, 6).astype(float)),
    )


def arrays(**changes):
    labels = np.arange(60) % 2
    given = {"X_train": GREY, "y_train": labels, "X_test": GREY[:9], "y_test": labels[:9]}
    return given | changes


def refused(capsys, *arguments):
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_a_run_knows_kind_and_shape_of_its_images(tmp_path, capsys):
    data = write("npz", tmp_path / "data", arrays())
    assert main(["train", str(data), "--out", str(tmp_path / "run"), *QUICK]) == 0
    model = Model.load(tmp_path / "run" / "model.safetensors")
    assert (model.input_kind, model.image_shape) == ("u", (2, 3))
    flat = model.predict(GREY.reshape(60, 6))
    np.testing.assert_array_equal(model.predict(GREY), flat)
    np.testing.assert_array_equal(model.predict(GREY[..., None]), flat)
    with pytest.raises(InputError, match=r"trained on images of shape \(2, 3\), but X has \(3, 2"):
        model.predict(GREY.reshape(60, 3, 2))
    turned = write("npz", tmp_path / "turned", arrays(X_test=GREY[:9].reshape(9, 3, 2)))
    assert "images of shape (2, 3), but set has (3, 2)" in refused(
        capsys, "predict", tmp_path / "run", turned
    )
    scaled = write("npz", tmp_path / "scaled", arrays(X_test=GREY[:9] / 255))
    assert "trained on unsigned integers" in refused(capsys, "predict", tmp_path / "run", scaled)


@pytest.mark.parametrize("form", ["npz", "npy"])
def test_a_test_part_of_another_kind_or_shape_is_refused_before_any_work(tmp_path, capsys, form):
    for name, test, message in [
        ("scaled", GREY[:9] / 255, "the test set holds float64 with .* trained on unsigned"),
        ("turned", GREY[:9].reshape(9, 3, 2), r"images of shape \(2, 3\), but the test set \(3, 2"),
    ]:
        data = write(form, tmp_path / name, arrays(X_test=test))
        with pytest.raises(InputError, match=message):
            load(str(data))
        refused(capsys, "train", data, "--out", tmp_path / "run", *QUICK)
        assert not (tmp_path / "run").exists()
    data = write(form, tmp_path / "flat", arrays(X_test=GREY[:9].reshape(9, 6)))
    assert load(str(data)).X_test.shape == (9, 6)


def test_shards_of_images_of_other_shapes_are_refused(tmp_path):
    for name, images in (("a", GREY), ("b", GREY.reshape(60, 3, 2))):
        np.savez(tmp_path / f"{name}.npz", **arrays(X_train=images))
    with pytest.raises(InputError, match=r"images of shape \(2, 3\), but .* \(3, 2\)"):
        load(str(tmp_path))


def csv_of(path, columns):
    rows = [{"dose": i % 7, "age": i * i % 5, "kind": "ab"[i % 7 > 3], "id": i} for i in range(40)]
    lines = [",".join(columns), *(",".join(str(row[c]) for c in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_csv_in_another_order_predicts_the_same_and_more_columns_are_a_word(
    tmp_path, capsys, caplog
):
    first = csv_of(tmp_path / "first.csv", ["dose", "age", "kind"])
    run = str(tmp_path / "run")
    assert main(["train", first, "--target", "kind", "--out", run, *QUICK]) == 0
    found = []
    for k, columns in enumerate([["dose", "age"], ["age", "dose"], ["id", "age", "dose"]]):
        other = csv_of(tmp_path / f"{k}.csv", columns)
        with caplog.at_level(logging.WARNING, "fastbcd"):
            assert main(["predict", run, other, "--out", str(tmp_path / f"out-{k}.csv")]) == 0
        found.append((tmp_path / f"out-{k}.csv").read_text())
    assert found[0] == found[1] == found[2]
    assert "2: columns that the model was not trained on are left out: 'id'" in caplog.text
    assert "1: " not in caplog.text
    lacking = csv_of(tmp_path / "lacking.csv", ["dose", "id"])
    assert "lacking has no column 'age'" in refused(capsys, "predict", run, lacking)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["columns"] == ["dose", "age"]
    # An array has no names: a word, as the model cannot know.
    model = Model.load(tmp_path / "run" / "model.safetensors")
    with pytest.warns(UserWarning, match="X does not have feature names"):
        model.predict(np.ones((2, 2)))


def test_exports_say_what_the_inputs_are():
    pytest.importorskip("onnx")
    from fastbcd.export import onnx_model

    model = quick().fit(GREY.reshape(60, 6), Y).model_
    model.image_shape, model.feature_names = (2, 3), list("abcdef")
    said = {entry.key: json.loads(entry.value) for entry in onnx_model(model).metadata_props}
    assert said["feature_names"] == list("abcdef")
    assert (said["input_kind"], said["image_shape"]) == ("u", [2, 3])


def test_the_source_for_torch_says_what_the_inputs_are():
    pytest.importorskip("torch")
    from fastbcd.export import torch_source

    model = quick().fit(GREY.reshape(60, 6), Y).model_
    model.image_shape = (2, 3)
    space = {}
    exec(compile(torch_source(model), "model.py", "exec"), space)
    assert (space["INPUT_KIND"], space["IMAGE_SHAPE"], space["FEATURES"]) == ("u", (2, 3), None)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"input_kind": "x"}, "input_kind must be one of b, u, i, f, n, got 'x'"),
        ({"image_shape": (2, 2)}, r"image_shape \(2, 2\) does not have the 3 elements of an input"),
        ({"image_shape": "3"}, "image_shape must be sizes, got '3'"),
        ({"feature_names": [1, 2, 3]}, "feature_names must be texts"),
    ],
)
def test_metadata_that_are_none_are_refused(named, parts, message):
    with pytest.raises(InputError, match=message):
        Model(named.network, named.classes, named.preprocessing, **parts)


@pytest.mark.parametrize("missing", [pd.NA, None, np.nan, pd.NaT], ids=repr)
def test_a_missing_value_is_named(named, missing):
    frame = FRAME.astype(object)
    frame.iloc[3, 1] = missing
    with pytest.raises(InputError, match="X must be finite, but row 3, column 1 is"):
        named.predict(frame)
    with pytest.raises(ValueError, match="X must be finite, but row 3, column 1|X contains NaN"):
        quick().fit(frame, Y)
    with pytest.raises(ValueError, match="y must be finite, but row 0 is <NA>, a missing value"):
        BCDRegressor().fit(FRAME, pd.Series(Y, dtype=object).where(Y == 0, pd.NA))


def test_rows_of_different_lengths_and_texts_are_no_numbers(named):
    images = quick().fit(GREY.reshape(60, 6), Y).model_
    images.image_shape = (2, 3)
    for model in (named, images):
        for other in ([[1, 2, 3], [4]], [["a", "b", "c"]], X.astype(complex)):
            with pytest.raises(InputError, match="X must hold numbers only"):
                model.predict(other, names=model.feature_names)


def test_masked_numbers_are_refused(named):
    with pytest.raises(InputError, match="X has masked numbers"):
        named.predict(np.ma.masked_greater(X, 0.5), names=list(FRAME.columns))


@pytest.mark.parametrize("order", [">f4", ">f8"])
def test_weights_in_another_order_of_bytes_predict_the_same(named, order):
    from fastbcd import Network

    network = named.network
    swapped = [W.astype(order) for W in network.W]
    other = Network(swapped, network.activations, network.residual)
    native = [W.astype(order[1:]) for W in network.W]
    same = Network(native, network.activations, network.residual)
    np.testing.assert_array_equal(other.forward(X), same.forward(X))
    model = Model(other, named.classes.astype(">i8"), named.preprocessing, loss=named.loss)
    assert model.predict(X).tolist() == named.predict(FRAME).tolist()
