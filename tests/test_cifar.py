"""CIFAR-10 in its three forms: the same images and labels, and a sentence for what is wrong."""

import io
import os
import pickle

import numpy as np
import pytest

from fastbcd.data import load
from fastbcd.errors import InputError

NAMES = ["cat", "dog", "ship"]
FILES = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]


@pytest.fixture
def images():
    """Four smooth images a file, as (4, 32, 32, 3), and their labels."""
    rng, y, x = np.random.default_rng(0), *np.mgrid[0:32, 0:32]
    shades = rng.uniform(0, 1, (6, 4, 3))
    X = np.stack([x * 4 + 60, y * 4 + 60, x + y + 60], axis=-1) * shades[:, :, None, None]
    return X.astype(np.uint8), rng.integers(0, 3, (6, 4))


def planes(X):
    return X.transpose(0, 3, 1, 2).reshape(len(X), -1)


def write_pickles(folder, X, y, protocol=2):
    for name, images, labels in zip(FILES, X, y, strict=True):
        content = {b"data": planes(images), b"labels": labels.tolist(), b"batch_label": b"x"}
        (folder / name).write_bytes(pickle.dumps(content, protocol))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES}))


def write_new_pickles(folder, X, y):
    write_pickles(folder, X, y, protocol=5)


def write_records(folder, X, y):
    for name, images, labels in zip(FILES, X, y, strict=True):
        records = np.hstack([labels[:, None].astype(np.uint8), planes(images)])
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")


def write_jpeg(folder, X, y):
    image_of = pytest.importorskip("PIL.Image").fromarray
    for part, files in {"train": slice(0, 5), "test": slice(5, 6)}.items():
        content, offsets = b"", [0]
        for image in X[files].reshape(-1, 32, 32, 3):
            file = io.BytesIO()
            image_of(image).save(file, "JPEG", quality=100, subsampling=0)
            content += file.getvalue()
            offsets.append(len(content))
        arrays = {"jpeg": np.frombuffer(content, np.uint8), "offsets": np.array(offsets)}
        np.savez(folder / part, **arrays, labels=y[files].ravel(), names=np.array(NAMES))


@pytest.mark.parametrize("write", [write_pickles, write_new_pickles, write_records, write_jpeg])
def test_every_form_gives_images_with_channels_last_and_names_of_classes(tmp_path, images, write):
    X, y = images
    write(tmp_path, X, y)
    data = load(tmp_path)
    assert data.image_shape == (32, 32, 3)
    assert data.X_train.dtype == np.uint8
    tolerance = 6 if write is write_jpeg else 0
    for got, expected in ((data.X_train, X[:5]), (data.X_test, X[5:])):
        gap = got.astype(int) - expected.reshape(-1, 3072).astype(int)
        assert np.abs(gap).max() <= tolerance
    np.testing.assert_array_equal(data.y_train, np.array(NAMES)[y[:5].ravel()])
    np.testing.assert_array_equal(data.y_test, np.array(NAMES)[y[5]])
    alone = load(tmp_path, training=False)
    assert alone.X_train is None
    np.testing.assert_array_equal(alone.X_test, data.X_test)


def test_without_names_labels_are_numbers(tmp_path, images):
    write_records(tmp_path, *images)
    (tmp_path / "batches.meta.txt").unlink()
    np.testing.assert_array_equal(load(tmp_path).y_test, images[1][5])


class Call:
    def __reduce__(self):
        return os.system, ("touch called",)


def test_a_pickle_that_calls_something_is_refused_before_the_call(tmp_path, images, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pickles(tmp_path, *images)
    (tmp_path / "data_batch_2").write_bytes(pickle.dumps({b"data": Call()}))
    with pytest.raises(InputError, match=r"data_batch_2 cannot be read .*system has no place in"):
        load(tmp_path)
    assert not (tmp_path / "called").exists()


def damage(folder, kind):
    if kind == "truncated records":
        path = folder / "data_batch_3.bin"
        path.write_bytes(path.read_bytes()[:-1])
    elif kind == "missing":
        (folder / "data_batch_3.bin").unlink()
    elif kind == "too few names":
        (folder / "batches.meta.txt").write_text("cat\n")
    elif kind == "truncated pickle":
        path = folder / "test_batch"
        path.write_bytes(path.read_bytes()[:-2000])
    elif kind == "other columns":
        (folder / "test_batch").write_bytes(
            pickle.dumps({"data": np.zeros((2, 9), np.uint8), "labels": [0, 1]})
        )
    elif kind == "not a dict":
        (folder / "test_batch").write_bytes(pickle.dumps([1, 2]))


@pytest.mark.parametrize(
    ("write", "kind", "sentence"),
    [
        (write_records, "truncated records", r"data_batch_3.bin has 12291 bytes, which is no mult"),
        (write_records, "missing", r"has no data_batch_3.bin, one of the six files of CIFAR-10"),
        (write_records, "too few names", r"has the label 2, but batches.meta has 1 names"),
        (write_pickles, "truncated pickle", r"test_batch cannot be read as a pickle of CIFAR-10"),
        (write_pickles, "other columns", r"it needs data, a uint8 array with 3072 columns"),
        (write_pickles, "not a dict", r"is not a batch of CIFAR-10: it holds a list"),
    ],
)
def test_damage_is_one_sentence(tmp_path, images, write, kind, sentence):
    write(tmp_path, *images)
    damage(tmp_path, kind)
    with pytest.raises(InputError, match=sentence) as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)


def test_an_image_of_another_size_is_named(tmp_path, images):
    X, y = images
    write_jpeg(tmp_path, X, y)
    image_of = pytest.importorskip("PIL.Image").fromarray
    file = io.BytesIO()
    image_of(np.zeros((20, 30, 3), np.uint8)).save(file, "JPEG")
    content = np.frombuffer(file.getvalue(), np.uint8)
    arrays = {"jpeg": content, "offsets": np.array([0, len(content)]), "labels": np.array([1])}
    np.savez(tmp_path / "test", **arrays)
    with pytest.raises(InputError, match=r"image 0 has 20 x 30 pixels, but those of CIFAR-10"):
        load(tmp_path)
