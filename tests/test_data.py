"""Readers: the files that they accept, and their messages about broken files."""

import gzip

import numpy as np
import pytest

from fastbcd import InputError
from fastbcd.data import Preprocessing, load


def gzipped(content):
    """Without the time, which would differ between the processes that share these tests."""
    return gzip.compress(content, mtime=0)


def idx_bytes(array):
    codes = {"uint8": 0x08, "int32": 0x0C, "float32": 0x0D}
    header = bytes([0, 0, codes[array.dtype.name], array.ndim])
    sizes = b"".join(int(size).to_bytes(4, "big") for size in array.shape)
    return header + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx_folder(folder, n=12, compress=True, seed=0):
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    arrays = {}
    for prefix in ("train", "t10k"):
        arrays[f"{prefix}-images-idx3-ubyte"] = rng.integers(256, size=(n, 3, 2)).astype(np.uint8)
        arrays[f"{prefix}-labels-idx1-ubyte"] = (np.arange(n) % 3).astype(np.uint8)
    for name, array in arrays.items():
        content = idx_bytes(array)
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return arrays


def write_npz(path, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "X_train": rng.standard_normal((20, 4)),
        "y_train": np.arange(20) % 3,
        "X_test": rng.standard_normal((6, 4)),
        "y_test": np.arange(6) % 3,
    }
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return arrays


def write_csv(path, text="a,b,kind\n" + "1,2.5,red\n-3,4e-1,blue\n" * 5):
    path.write_text(text)
    return path


@pytest.mark.parametrize("compress", [True, False])
def test_idx_folders_are_read_as_written(tmp_path, compress):
    arrays = write_idx_folder(tmp_path / "set", compress=compress)
    data = load(str(tmp_path / "set"))
    assert data.name == "set"
    np.testing.assert_array_equal(data.X_train, arrays["train-images-idx3-ubyte"].reshape(12, 6))
    np.testing.assert_array_equal(data.y_test, arrays["t10k-labels-idx1-ubyte"])


def test_npz_is_read_as_written_and_images_are_flattened(tmp_path):
    arrays = write_npz(tmp_path / "a.npz", X_test=np.ones((6, 2, 2)))
    data = load(str(tmp_path / "a.npz"))
    np.testing.assert_array_equal(data.X_train, arrays["X_train"])
    assert data.X_test.shape == (6, 4)


def test_csv_keeps_feature_order_and_text_labels(tmp_path):
    path = write_csv(tmp_path / "t.csv", "kind,a,b\n" + "red,1,2\nblue,3,4\n" * 5)
    data = load(str(path), target="kind")
    assert data.X_train.shape == (8, 2)
    assert set(data.y_train) == {"red", "blue"}
    rows = {tuple(row) for row in np.vstack([data.X_train, data.X_test])}
    assert rows == {(1.0, 2.0), (3.0, 4.0)}


def test_csv_with_whole_numbers_as_labels_has_integer_classes(tmp_path):
    path = write_csv(tmp_path / "t.csv", "a,kind\n" + "1,0\n\n2,1\n" * 5)
    assert load(str(path), target="kind").y_train.dtype == np.int64


@pytest.mark.parametrize(
    "labels", [("01", "1"), ("1", "x"), ("9007199254740992", "9007199254740993")]
)
def test_csv_labels_that_integers_would_change_stay_text(tmp_path, labels):
    one, two = labels
    path = write_csv(tmp_path / "t.csv", "a,kind\n" + f"1,{one}\n2,{two}\n" * 5)
    assert set(load(str(path), target="kind").y_train) == set(labels)


def test_the_held_out_rows_of_a_csv_are_the_same_for_prediction(tmp_path):
    path = write_csv(tmp_path / "t.csv")
    training = load(str(path), target="kind")
    prediction = load(str(path), target="kind", training=False, held_out=True)
    np.testing.assert_array_equal(training.X_test, prediction.X_test)
    everything = load(str(path), target="kind", training=False)
    assert len(everything.X_test) == 10


def test_digits_are_split_the_same_way_every_time():
    one, two = load(None), load(None)
    assert one.X_train.shape == (1437, 64)
    np.testing.assert_array_equal(one.X_test, two.X_test)


IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, None, "has no train-images-idx3-ubyte"),
        (LABELS, None, "has no train-labels-idx1-ubyte"),
        (IMAGES, b"not gzip", "cannot be read: Not a gzipped file"),
        (IMAGES, gzipped(idx_bytes(np.zeros((9, 9), np.uint8)))[:-12], "cannot be read"),
        (IMAGES, gzipped(b"\x01\x02\x08\x03" + bytes(12)), "magic number is 01020803"),
        (IMAGES, gzipped(b"\0\0\x08\x03\0\0"), "is truncated"),
        (IMAGES, gzipped(idx_bytes(np.zeros((2, 3), np.uint8))[:-1]), "is truncated"),
        (IMAGES, gzipped(idx_bytes(np.zeros((2, 3), np.uint8)) + b"x"), "header says"),
        (IMAGES, gzipped(b"\0\0\x08\x03" + bytes(4) + b"\xff" * 8), "holds no samples"),
        (IMAGES, gzipped(b"\0\0\x08\x0f" + b"\0\0\0\x01" * 15 + b"x"), "holds no samples"),
        (LABELS, gzipped(idx_bytes(np.zeros(5, np.uint8))), "5 labels, but there are 12"),
    ],
)
def test_broken_idx_files_are_named(tmp_path, name, content, message):
    write_idx_folder(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        load(str(tmp_path))
    assert name.removesuffix(".gz") in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": None}, "has no array y_train; it holds X_train, X_test, y_test"),
        ({"X_train": np.ones((20, 3))}, "the training set has 3 features, but the test set has 4"),
        ({"y_test": np.arange(5)}, "y_test of .* has 5 labels, but there are 6"),
        ({"X_test": np.full((6, 4), np.nan)}, "X_test of .* must be finite, but row 0"),
        ({"y_train": np.linspace(0, 1, 20)}, "y_train of .* numbers that are not whole"),
        ({"X_train": np.ones((0, 4)), "y_train": np.ones(0)}, "at least one sample"),
        ({"X_train": np.ones((0, 2, 2)), "y_train": np.ones(0)}, "X_train of .* must be 2-d"),
        ({"X_train": np.ones((20, 4), complex)}, "X_train of .* must hold numbers only"),
        ({"y_train": np.full(20, 2**64 - 1, np.uint64)}, "y_train of .* has labels beyond"),
        ({"X_train": np.array([["a"] * 4] * 20)}, "X_train of .* must hold numbers only"),
    ],
)
def test_broken_npz_archives_are_named(tmp_path, changes, message):
    write_npz(tmp_path / "a.npz", **changes)
    with pytest.raises(InputError, match=message):
        load(str(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        (None, None, "--target COLUMN is needed; its columns are a, b, kind"),
        (None, "colour", "no column 'colour'; its columns are a, b, kind"),
        ("a,kind\n1,x\ntwo,y\n", "kind", "line 3: column 'a' must hold numbers, got 'two'"),
        ("a,kind\n1,x\n,y\n", "kind", "line 3: column 'a' must hold numbers, got ''"),
        ("a,kind\n1,x\n1,2,3\n", "kind", "line 3: 3 fields where the header has 2"),
        ("a,kind\n1,x\nnan,y\n", "kind", "line 3: column 'a' must hold finite numbers, got 'nan'"),
        ("a,kind\n1,x\n1,\n", "kind", "line 3: the target 'kind' is empty"),
        ("a,kind\n1,0.5\n1,1.5\n", "kind", "numbers that are not whole"),
        ("a,kind\n1,x\n1_000,y\n", "kind", "line 3: column 'a' must hold finite numbers"),
        ("a,kind,kind\n1,x,x\n", "kind", "column 'kind' occurs twice in the header"),
        ("a,kind\n", "kind", "has no samples"),
        ("", "kind", "has no samples"),
        ("a,kind\n1,x\n1,y\n2,y\n", "kind", "class .*x.* has one sample"),
        ("kind\nx\ny\n", "kind", "at least one sample and feature"),
    ],
)
def test_broken_csv_files_are_named(tmp_path, text, target, message):
    path = tmp_path / "t.csv"
    write_csv(path) if text is None else write_csv(path, text)
    with pytest.raises(InputError, match=message):
        load(str(path), target=target)


def test_unknown_sources_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere.* does not exist; DATA must be"):
        load(str(tmp_path / "nowhere"))
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="unknown ending '.txt'"):
        load(str(tmp_path / "a.txt"))
    np.save(tmp_path / "single.npy", np.ones(3))
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    with pytest.raises(InputError, match=r"single.npz is not an .npz archive"):
        load(str(tmp_path / "single.npz"))
    with pytest.raises(InputError, match="--target names a column of a CSV file"):
        load(None, target="x", target_required=True)
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match="cannot be read as an .npz archive"):
        load(str(tmp_path / "bad.npz"))
    with pytest.raises(InputError, match="test fraction must lie between 0 and 1, got 1.5"):
        load(None, test_fraction=1.5)


def test_preprocessing_standardises_floats_and_keeps_images_images():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3)) * [1, 100, 0] + [5, 0, 7]
    scaled = Preprocessing.fit(X)(X, "float64")
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 1, 0], atol=1e-12)
    grey = np.array([[0, 255], [51, 0]], np.uint8)
    np.testing.assert_allclose(Preprocessing.fit(grey)(grey, "float64"), [[0, 1], [0.2, 0]])
    stamps = 1.7e9 + np.arange(600.0)[:, None]  # an offset that float32 cannot hold
    assert len(np.unique(Preprocessing.fit(stamps)(stamps, "float32"))) == 600
    signed = np.array([[-128, 10]], np.int8)
    assert Preprocessing.fit(signed, "unit")(signed, "float64").min() == -1
    with pytest.raises(InputError, match="numbers of feature 1 are too large"):
        Preprocessing.fit(np.array([[1.0, 1e300], [2.0, -1e300]]))
    with pytest.raises(InputError, match="preprocess must be one of auto"):
        Preprocessing.fit(X, "scale")


def test_extreme_values_are_cut_at_five_deviations_unless_asked_not_to():
    X = np.r_[np.random.default_rng(0).standard_normal((500, 2)), [[400.0, -300.0]]]
    cut = Preprocessing.fit(X)
    np.testing.assert_array_equal(cut(X, "float64")[-1], [5, -5])
    np.testing.assert_array_equal(cut(np.array([[-1e9, 0.0]]), "float32")[0, 0], -5)
    whole = Preprocessing.fit(X, "standard")(X, "float64")
    assert whole[-1, 0] > 20
    inner = np.abs(whole).max(axis=1) < 5
    np.testing.assert_array_equal(cut(X, "float64")[inner], whole[inner])
