"""Files and folders are recognised by their content, and errors describe all others."""

import gzip
import os

import numpy as np
import pytest
from data_forms import IDX_NAMES, idx_bytes

from fastbcd import InputError
from fastbcd.cli.main import main
from fastbcd.data import load
from fastbcd.data.names import NAMES, role_of

ARRAYS = {
    "X_train": np.arange(48, dtype=np.uint8).reshape(8, 3, 2),
    "y_train": (np.arange(8) % 2).astype(np.uint8),
    "X_test": np.arange(24, dtype=np.uint8)[::-1].reshape(4, 3, 2),
    "y_test": (np.arange(4) % 2).astype(np.uint8),
}


def zipped(content):
    return gzip.compress(content, mtime=0)


def write_idx(folder, rename, pack=bytes):
    for role, name in IDX_NAMES.items():
        path = folder / rename(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack(idx_bytes(ARRAYS[role])))
    return str(folder)


def assert_read(data):
    for role, array in ARRAYS.items():
        flat = array.reshape(len(array), -1) if array.ndim > 1 else array
        np.testing.assert_array_equal(getattr(data, role), flat)


def kaggle(name):
    return name.replace("-idx", ".idx")


IDX_FORMS = {
    "as published": (lambda name: name, bytes),
    "gzipped": (lambda name: f"{name}.gz", zipped),
    "gzipped without a word": (lambda name: name, zipped),
    "unpacked without a word": (lambda name: f"{name}.gz", bytes),
    "upper case": (str.upper, bytes),
    "upper case, gzipped": (lambda name: f"{name}.GZ".upper(), zipped),
    "Kaggle's dots": (kaggle, bytes),
    "in folders of their names": (lambda name: f"{name}/{name}", bytes),
    "in folders, with dots": (lambda name: f"{name}/{kaggle(name)}", bytes),
    "EMNIST": (lambda name: "emnist-letters-" + name.replace("t10k", "test"), bytes),
}


@pytest.mark.parametrize("form", IDX_FORMS)
def test_idx_files_are_found(tmp_path, form):
    assert_read(load(write_idx(tmp_path / "set", *IDX_FORMS[form])))


def test_a_file_comes_before_a_folder_of_its_name(tmp_path):
    for name in IDX_NAMES.values():
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(b"another")
    assert_read(load(write_idx(tmp_path, kaggle)))


def test_several_sets_in_a_folder_are_named(tmp_path):
    write_idx(tmp_path, lambda name: f"emnist-letters-{name}")
    write_idx(tmp_path, lambda name: f"emnist-digits-{name}")
    with pytest.raises(InputError, match="files of 2 sets, emnist-digits, emnist-letters; keep"):
        load(str(tmp_path))
    assert_read(load(write_idx(tmp_path, str)))


NAMINGS = [
    ("X_train", "y_train", "X_test", "y_test"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("X_TRAIN", "Y_TRAIN", "X_TEST", "Y_TEST"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("Train-Images", "Train-Labels", "t10k-images", "t10k-labels"),
    ("trainX", "trainY", "testX", "testY"),
    ("XTrain", "yTrain", "XTest", "yTest"),
    ("train_data", "train_targets", "test_data", "test_targets"),
]


@pytest.mark.parametrize("names", NAMINGS, ids=str)
def test_arrays_are_found_under_their_usual_names(tmp_path, names):
    renamed = dict(zip(names, ARRAYS.values(), strict=True)) | {"val_images": np.ones(3)}
    np.savez(tmp_path / "set.npz", **renamed)
    assert_read(load(str(tmp_path / "set.npz")))
    (tmp_path / "npy").mkdir()
    (tmp_path / "shards").mkdir()
    for name, array in renamed.items():
        np.save(tmp_path / "npy" / f"{name}.npy", array)
        os.replace(tmp_path / "npy" / f"{name}.npy", tmp_path / "npy" / f"{name}.NPY")
    (tmp_path / "npy" / f"._{names[0]}.npy").write_bytes(b"of a Mac")
    assert_read(load(str(tmp_path / "npy")))
    os.replace(tmp_path / "set.npz", tmp_path / "shards" / "PART.NPZ")
    (tmp_path / "shards" / "b.npz").mkdir()
    assert_read(load(str(tmp_path / "shards")))


def test_our_own_names_come_first_and_two_others_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS, x_train=np.zeros((8, 6)), train_images=np.zeros(3))
    assert_read(load(str(tmp_path / "a.npz")))
    others = {name: array for name, array in ARRAYS.items() if name != "X_train"}
    np.savez(tmp_path / "b.npz", **others, x_train=ARRAYS["X_train"], train_images=np.zeros(3))
    with pytest.raises(InputError, match="has both x_train and train_images; rename the right"):
        load(str(tmp_path / "b.npz"))


def test_names_of_other_arrays_are_none_of_ours():
    assert [role_of(name) for name in NAMES] == list(NAMES)
    others = ["x", "train", "X_val", "valid_images", "y", "X_trainer", "my_x_train", "x__train", ""]
    assert [role_of(name) for name in others] == [None] * len(others)


def folder_of(*names):
    def make(path):
        path.mkdir()
        for name in names:
            if name.endswith("/"):
                (path / name).mkdir()
            else:
                (path / name).write_text("a,y\n1,2\n")

    return make


DESCRIBED = [
    (folder_of(), "is an empty folder; DATA must be a folder of"),
    (folder_of(".DS_Store", "__MACOSX/"), "is an empty folder"),
    (folder_of("cat/", "dog/"), "has none of the needed files; it holds cat/, dog/; DATA"),
    (
        folder_of("train.csv", "x.txt"),
        "is a folder that holds train.csv, x.txt; to read a table, name the file: .*",
    ),
    (folder_of("config.json", "history.csv"), "is the folder of a run, not data"),
    (
        folder_of(*"abcdefghij"),
        "has none of .*; it holds a, b, c, d, e, f, g, h and 2 more",
    ),
    (
        lambda path: write_idx(path / "raw", str),
        "holds raw/, and the data seem to lie in .*raw: na",
    ),
    (folder_of("x_train.npy"), "has no y_train.npy; it holds x_train"),
    (folder_of("train-images-idx3-ubyte"), "has no train-labels-idx1-ubyte .*; it holds train-ima"),
]


@pytest.mark.parametrize(("make", "message"), DESCRIBED, ids=[m for _, m in DESCRIBED])
def test_a_folder_that_is_none_is_described(tmp_path, make, message):
    make(tmp_path / "set")
    with pytest.raises(InputError, match=f"set {message}"):
        load(str(tmp_path / "set"))


def test_a_file_that_is_a_part_or_nothing_is_described(tmp_path):
    folder = write_idx(tmp_path / "set", str)
    np.save(tmp_path / "x.npy", np.ones(3))
    (tmp_path / "empty-images").write_bytes(b"")
    for name, message in [
        ("set/train-images-idx3-ubyte", f"is one IDX file; name the folder that holds.*{folder}"),
        ("x.npy", "is one array; name the folder that holds all four, or pack them by numpy"),
        ("empty-images", "has an unknown ending ''; DATA must be"),
    ]:
        with pytest.raises(InputError, match=message):
            load(str(tmp_path / name))
    (tmp_path / "set" / IDX_NAMES["y_test"]).write_bytes(b"")
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte is empty; an IDX file was"):
        load(folder)
    with pytest.raises(InputError, match="DATA must be a path, got 3"):
        load(3)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.eye(8), r"got shape \(8, 8\); of one-hot rows these are .argmax"),
        (np.array(3), r"y_train of .* must hold one label for each sample, got shape \(\)"),
        (np.array(["a"] * 8, object), "Object arrays cannot be loaded: .*; save texts by astype"),
    ],
)
def test_labels_that_are_none_are_described(tmp_path, y, message):
    np.savez(tmp_path / "a.npz", **ARRAYS | {"y_train": y})
    with pytest.raises(InputError, match=message):
        load(str(tmp_path / "a.npz"))


def test_a_table_in_a_folder_of_its_name_is_read(tmp_path):
    (tmp_path / "t.csv").mkdir()
    (tmp_path / "t.csv" / "t.csv").write_text("a,y\n" + "1,u\n2,v\n" * 5)
    assert load(tmp_path / "t.csv", target="y").X_train.shape == (8, 1)


def test_a_label_of_the_test_part_alone_is_named_before_any_work(tmp_path, capsys):
    arrays = ARRAYS | {"y_test": np.array([0, 1, 7, 1], np.uint8)}
    np.savez(tmp_path / "a.npz", **arrays)
    assert main(["train", str(tmp_path / "a.npz"), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == (
        "fastbcd train: test set: label 7 does not occur in the training labels, which are 0, 1\n"
    )
    assert not (tmp_path / "run").exists()
