"""Predicted labels keep type, value and order of the labels in training, or these are refused."""

import csv

import numpy as np
import pandas as pd
import pytest
from data_forms import write

from fastbcd import BCDClassifier, InputError, Model, one_hot
from fastbcd.cli.main import main
from fastbcd.data import load
from fastbcd.data.label_values import faithful
from fastbcd.data.labels import encode

HALF = np.arange(40) % 2
X = np.random.default_rng(0).standard_normal((40, 3)) + HALF[:, None]
QUICK = ["--epochs", "1", "--hidden", "4", "--quiet"]


def table(path, codes):
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [[i % 5 + k, codes[k]] for i, k in enumerate(HALF.tolist())]
        csv.writer(file).writerows([["a", "code"], *rows])
    return str(path)


@pytest.mark.parametrize(
    "codes",
    [
        *(("02139", "00501"), ("1E5", "2E3"), ("1_0", "2_0"), ("+1", "-1"), ("1.0", "2.0")),
        *(("-0", "0"), ("a ", "a"), (" a", "a"), ("True", "False"), ("NA", "DE"), ("inf", "1")),
        *(("None", "x"), ("\uff11", "\uff12"), ("größe", "a\nb"), ("nan", "x"), ("0x1", "0x2")),
        *(("9007199254740993", "9007199254740992"), ('say "so"', "a,b"), ("1", "x"), ("1.50", "x")),
    ],
    ids=str,
)
def test_texts_of_a_csv_stay_the_texts_they_are(tmp_path, codes):
    y = load(table(tmp_path / "t.csv", codes), target="code").y_train
    assert set(y.tolist()) == set(codes)
    assert y.dtype.kind == "U"


def test_whole_numbers_of_a_csv_are_numbers(tmp_path):
    y = load(table(tmp_path / "t.csv", ("-1", "9007199254740992")), target="code").y_train
    assert y.dtype == np.int64
    assert set(y.tolist()) == {-1, 2**53}


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (("1", "nan"), "label 'nan' among numbers, which is a missing value"),
        (("1", "NA"), "label 'NA' among numbers"),
        (("1", " "), "the target 'code' is empty"),
        (("1.5", "2"), "numbers that are not whole"),
    ],
)
def test_labels_of_a_csv_that_are_none_are_refused(tmp_path, codes, message):
    with pytest.raises(InputError, match=message):
        load(table(tmp_path / "t.csv", codes), target="code")


ARRAYS = {
    "bool": np.array([True, False]),
    "float": np.array([-1.0, 1.0]),
    "half floats": np.array([1, 2], np.float16),
    "bytes of memory": np.array([3, 200], np.uint8),
    "negative": np.array([-5, 5], np.int8),
    "large": np.array([2**62 + 1, 2**62]),
    "other order of bytes": np.array([3, 500]).astype(">i4"),
    "text": np.array(["b ", "größe\r"]),
    "text, other order of bytes": np.array(["b", "a"]).astype(">U3"),
    "empty": np.array(["", "nan"]),
}


@pytest.mark.parametrize("form", ["npz", "npy", "shards", "npz compressed"])
@pytest.mark.parametrize("kind", ARRAYS)
def test_labels_of_arrays_keep_type_and_value(tmp_path, form, kind):
    labels = ARRAYS[kind]
    y = labels[HALF]
    arrays = {"X_train": X, "y_train": y, "X_test": X[:9], "y_test": y[:9]}
    data = load(str(write(form, tmp_path / "set", arrays)))
    assert data.y_train.dtype == labels.dtype.newbyteorder("=")
    assert data.y_train.tolist() == y.tolist()
    assert data.y_test.tolist() == y[:9].tolist()


@pytest.mark.parametrize(
    "kind", ["bool", "float", "bytes of memory", "large", "text", "empty", "02139"]
)
def test_a_run_predicts_the_labels_that_it_was_given(tmp_path, kind):
    labels = ARRAYS.get(kind, np.array(["02139", "00501"]))
    if kind == "02139":
        data = table(tmp_path / "t.csv", labels.tolist())
    else:
        y = labels[HALF]
        arrays = {"X_train": X, "y_train": y, "X_test": X[:9], "y_test": y[:9]}
        data = str(write("npz", tmp_path / "set", arrays))
    run, out = str(tmp_path / "run"), tmp_path / "out.csv"
    target = ["--target", "code"] if kind == "02139" else []
    assert main(["train", data, "--out", run, *target, *QUICK]) == 0
    model = Model.load(f"{run}/model.safetensors")
    assert model.classes.dtype == labels.dtype
    assert model.classes.tolist() == sorted(labels.tolist())
    assert main(["predict", run, "--out", str(out), "--proba"]) == 0
    with out.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames[2:] == [f"probability of {label}" for label in model.classes.tolist()]
    assert {row["prediction"] for row in rows} <= {str(label) for label in labels.tolist()}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([b"a", b"b"]), r"must hold integers or text, got \|S1; decode them"),
        (np.array(["2020", "2021"], "M8[Y]"), "must hold integers or text"),
        (np.array([1.0, np.nan]), "numbers that are not whole"),
        (np.array([1.0, 2.0**60]), "labels beyond 2"),
        (np.array([1, 2], np.longdouble), "must hold integers or text"),
        (np.array(["\udc80", "a"]), "half characters"),
    ],
    ids=str,
)
def test_labels_of_arrays_that_could_not_come_back_are_refused(tmp_path, labels, message):
    y = labels[HALF]
    arrays = {"X_train": X, "y_train": y, "X_test": X[:9], "y_test": y[:9]}
    with pytest.raises(InputError, match=message):
        load(str(write("npz", tmp_path / "set", arrays)))


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        (np.uint8, np.int64, np.int64),
        ("U1", "U9", "U9"),
        (np.uint64, np.int64, None),
        (bool, np.int64, None),
        (np.int64, np.float64, None),
        (np.int64, "U1", None),
    ],
)
def test_shards_join_labels_only_where_none_is_changed(tmp_path, first, second, joined):
    for name, kind in (("a", first), ("b", second)):
        y = HALF.astype(kind)
        np.savez(tmp_path / f"{name}.npz", X_train=X, y_train=y, X_test=X[:4], y_test=y[:4])
    if joined is None:
        with pytest.raises(InputError, match="has labels of type .*, but"):
            load(str(tmp_path))
    else:
        assert load(str(tmp_path)).y_train.dtype == joined


def test_files_that_write_a_class_in_two_ways_agree():
    assert encode(np.array(["01", "2", "1.0"]), np.array([1, 2]), "y").tolist() == [0, 1, 0]
    assert encode(np.array(["True"]), np.array([False, True]), "y").tolist() == [1]
    assert encode(np.array([2, 1]), np.array(["1", "2"], object), "y").tolist() == [1, 0]
    large = np.array([2**53, 2**53 + 1])
    assert encode(large.astype(str), large, "y").tolist() == [0, 1]
    with pytest.raises(InputError, match="label 'x' does not occur .*, which are 1, 2$"):
        encode(np.array(["1", "x"]), np.array([1, 2]), "y")


def fitted(y):
    return BCDClassifier((4,), max_iter=1, random_state=0).fit(X, y)


VALUES = {
    "Int64": (pd.Series([2**53, 2**53 + 1], dtype="Int64"), [2**53, 2**53 + 1], "i"),
    "boolean": (pd.Series([False, True], dtype="boolean"), [False, True], "b"),
    "string": (pd.Series(["a ", "b"], dtype="string"), ["a ", "b"], "O"),
    "category of numbers": (pd.Series(pd.Categorical([5, 3])), [3, 5], "i"),
    "category of texts": (pd.Categorical(["b", "a"]), ["a", "b"], "O"),
    "objects": (np.array([2**53 + 1, 2**53], object), [2**53, 2**53 + 1], "i"),
    "objects, bools": (np.array([False, True], object), [False, True], "b"),
    "NUL": (["a\0", "a"], ["a", "a\0"], "O"),
    "list of texts": (["b", "a"], ["a", "b"], "U"),
    "unsigned": (np.array([2**64 - 1, 2**64 - 2], np.uint64), [2**64 - 2, 2**64 - 1], "u"),
    "dates": (np.array(["2020", "2021"], "M8[Y]"), None, "M"),
}


@pytest.mark.parametrize("name", VALUES)
def test_labels_of_an_estimator_come_back(tmp_path, name):
    labels, expected, kind = VALUES[name]
    y = [labels[k] for k in HALF] if isinstance(labels, list) else labels[HALF]
    classifier = fitted(y)
    found = classifier.predict(X)
    assert classifier.classes_.dtype.kind == found.dtype.kind == kind
    if expected is not None:
        assert classifier.classes_.tolist() == expected
        assert set(found.tolist()) <= set(expected)
        classifier.model_.save(tmp_path / "model")
        assert Model.load(tmp_path / "model").classes.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, "a"], r"y must hold labels of one kind, but has 1 \(whole number\) and 'a' \(text\)"),
        ([True, 2], "has True .bool. and 2 .whole number."),
        (np.array([1, True], object), "labels of one kind"),
        (np.array([None, "a"], object), "y: label 0 is missing"),
        (np.array(["a", np.nan], object), "y: label 1 is missing"),
        (pd.Series(["a", pd.NA], dtype="string"), "y: label 1 is missing"),
        (np.array(["2020", "NaT"], "M8[Y]"), "y: label 1 is missing"),
        ([2**70, 1], "do not all fit into 64 bits"),
        ([2**53 + 1, 0.5], "do not all fit"),
        (np.array([b"a", b"b"], object), "of type bytes; decode them"),
        (np.ma.array([0, 1], mask=[0, 1]), "masked"),
    ],
    ids=str,
)
def test_labels_that_would_be_changed_are_refused(labels, message):
    y = [labels[k] for k in HALF] if isinstance(labels, list) else labels[HALF]
    with pytest.raises(InputError, match=message):
        fitted(y)


def test_classes_of_a_stream_and_of_a_model_are_not_made_texts():
    with pytest.raises(InputError, match="classes must hold labels of one kind"):
        BCDClassifier((4,)).partial_fit(X, HALF, classes=[0, "1"])
    network = fitted(HALF).network_
    preprocessing = fitted(HALF).model_.preprocessing
    with pytest.raises(InputError, match="classes must hold labels of one kind"):
        Model(network, [0, "1"], preprocessing)
    assert Model(network, ["a\0", "a"], preprocessing).classes.tolist() == ["a\0", "a"]


def test_one_hot_takes_whole_numbers_of_any_kind_of_array():
    expected = [[1, 0], [0, 1]]
    for labels in (pd.Series([0, 1], dtype="Int64"), np.array([0, 1], object), (0, 1)):
        assert one_hot(labels).tolist() == expected
    with pytest.raises(InputError, match="labels must hold labels of one kind"):
        one_hot([0, True])
    assert faithful([[1], [2]], "y").shape == (2, 1)


@pytest.mark.parametrize("labels", [["a ", "ä\n"], [2**64 - 1, 5], [True, False], ["a\0", "a"]])
def test_exports_hold_the_classes_as_they_are(labels):
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    from fastbcd.export import onnx_model

    classifier = fitted([labels[k] for k in HALF])
    graph = onnx_model(classifier.model_)
    assert isinstance(graph, onnx.ModelProto)
    session = ort.InferenceSession(graph.SerializeToString())
    found = session.run(["label"], {"X": X.astype(np.float32)})[0]
    assert found.tolist() == classifier.predict(X).tolist()


def test_an_export_of_dates_is_refused():
    pytest.importorskip("onnx")
    from fastbcd.export import onnx_model

    with pytest.raises(InputError, match="classes: an export holds finite numbers, bools and"):
        onnx_model(fitted(np.array(["2020", "2021"], "M8[ns]")[HALF]).model_)
