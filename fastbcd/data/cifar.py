"""CIFAR-10 as people have it: Python pickles, binary records, or copies of its images in JPEG.

All forms become rows of 32 x 32 x 3 numbers, channels last. Labels are the names of the classes
where the files have them.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.dataset import Dataset
from fastbcd.errors import InputError

SIDE, CHANNELS = 32, 3
PIXELS = CHANNELS * SIDE * SIDE
TRAINING = tuple(f"data_batch_{k}" for k in range(1, 6))
TEST, NAMES = "test_batch", "batches.meta"
JPEG = ("jpeg", "offsets", "labels")

Samples = tuple[NDArray[Any], NDArray[Any]]
"""Images (n, 3072) uint8, channels last, and labels (n,)."""


def is_cifar(folder: Path) -> bool:
    """Return whether `folder` holds the files of CIFAR-10 in one of the forms."""
    return _suffix(folder) is not None or bool(_jpeg_archives(folder))


def load_cifar(folder: Path, training: bool) -> Dataset:
    """Read CIFAR-10 from `folder`; for prediction (not `training`) the test set only.

    Raises
    ------
    InputError
        A file is missing, is not what its name says, or ends too early.
    """
    suffix = _suffix(folder)
    parts: list[Samples]
    if suffix is None:
        archives = _jpeg_archives(folder)
        needed = ("train", "test") if training else ("test",)
        parts = [_jpeg_samples(_existing(archives, part, folder)) for part in needed]
    else:
        read = _record_samples if suffix == ".bin" else _pickled_samples
        names = _class_names(folder)
        files = [[*TRAINING], [TEST]] if training else [[TEST]]
        parts = [_joined([read(folder / f"{n}{suffix}") for n in batch]) for batch in files]
        parts = [(X, _named(y, names, folder)) for X, y in parts]
    X_train, y_train = parts[0] if training else (None, None)
    X_test, y_test = parts[-1]
    name, shape = folder.resolve().name, (SIDE, SIDE, CHANNELS)
    return Dataset(name, X_train, y_train, X_test, y_test, image_shape=shape)


def _suffix(folder: Path) -> str | None:
    """Return ".bin" or "", the ending of the batches in `folder`; None if there are none."""
    for suffix in ("", ".bin"):
        if any((folder / f"{name}{suffix}").is_file() for name in (*TRAINING, TEST)):
            return suffix
    return None


def _joined(batches: list[Samples]) -> Samples:
    return np.concatenate([X for X, _ in batches]), np.concatenate([y for _, y in batches])


def _channels_last(planes: NDArray[Any]) -> NDArray[Any]:
    """``(n, 3 32 32)``, a plane for each channel, as ``(n, 32 32 3)``."""
    images = planes.reshape(-1, CHANNELS, SIDE, SIDE)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)).reshape(-1, PIXELS)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"{path.parent} has no {path.name}, one of the six files of CIFAR-10"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _record_samples(path: Path) -> Samples:
    """Read binary records: one byte for the label, then the planes of the image."""
    content = _content(path)
    if not content or len(content) % (1 + PIXELS):
        raise InputError(
            f"{path} has {len(content)} bytes, which is no multiple of the {1 + PIXELS} of a label "
            "and an image of CIFAR-10; it may be truncated"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return _channels_last(records[:, 1:]), records[:, 0].astype(np.int64)


# The only names that a pickled batch needs; a pickle of a stranger could call any other.
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    # Protocol 5 of pickles rebuilds arrays by these.
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArraysOnly(pickle.Unpickler):
    """An unpickler for dicts, lists, bytes, text, numbers and arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a batch of images")
        return super().find_class(module, name)


def _unpickled(path: Path) -> dict[bytes, Any]:
    """Read a dict with keys as bytes, whatever version of Python wrote it."""
    try:
        content = _ArraysOnly(io.BytesIO(_content(path)), encoding="bytes").load()
    except InputError:
        raise
    except Exception as error:  # damage shows as errors of many types
        raise InputError(f"{path} cannot be read as a pickle of CIFAR-10: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a batch of CIFAR-10: it holds a {type(content).__name__}")
    return {k.encode() if isinstance(k, str) else k: value for k, value in content.items()}


def _pickled_samples(path: Path) -> Samples:
    """Read a pickled batch with the keys ``data`` (n, 3072) and ``labels``."""
    content = _unpickled(path)
    data, labels = content.get(b"data"), content.get(b"labels")
    if (
        not isinstance(data, np.ndarray)
        or (data.dtype, data.shape) != (np.uint8, (len(data), PIXELS))
        or not isinstance(labels, list | np.ndarray)
        or len(labels) != len(data)
    ):
        raise InputError(
            f"{path} is not a batch of CIFAR-10: it needs data, a uint8 array with {PIXELS} "
            "columns, and as many labels"
        )
    return _channels_last(data), np.asarray(labels, np.int64)


def _class_names(folder: Path) -> NDArray[Any] | None:
    """Return the names of the classes, or None where no file has them."""
    text, pickled = folder / f"{NAMES}.txt", folder / NAMES
    if text.is_file():
        return np.array(_content(text).decode("utf-8", "replace").split())
    if not pickled.is_file():
        return None
    names = _unpickled(pickled).get(b"label_names", [])
    return np.array([n.decode() if isinstance(n, bytes) else str(n) for n in names])


def _named(y: NDArray[Any], names: NDArray[Any] | None, folder: Path) -> NDArray[Any]:
    """Return the names of labels that are numbers, or the numbers where there are no names."""
    if names is None:
        return y
    if len(y) and (y.min() < 0 or y.max() >= len(names)):
        raise InputError(
            f"{folder} has the label {y.max()}, but {NAMES} has {len(names)} names of classes"
        )
    return names[y]


def _jpeg_archives(folder: Path) -> dict[str, Path]:
    """Return train.npz and test.npz, by name, if they hold images in JPEG."""
    found = {part: folder / f"{part}.npz" for part in ("train", "test")}
    return {part: path for part, path in found.items() if path.is_file() and _has_jpeg(path)}


def _has_jpeg(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
    return {f"{name}.npy" for name in JPEG} <= members


def _existing(archives: dict[str, Path], part: str, folder: Path) -> Path:
    if part not in archives:
        raise InputError(f"{folder} has no {part}.npz with the arrays {', '.join(JPEG)}")
    return archives[part]


def _jpeg_samples(path: Path) -> Samples:
    """Decode image i from bytes ``offsets[i]`` to ``offsets[i + 1]`` of `jpeg`."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise InputError(
            f"{path} holds images in JPEG, which need Pillow: pip install 'fastbcd[images]'"
        ) from None
    try:
        with np.load(path, allow_pickle=False) as archive:
            content, offsets, labels = (archive[name] for name in JPEG)
            names = archive["names"] if "names" in archive.files else None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as an .npz archive: {error}") from None
    if len(offsets) != len(labels) + 1:
        raise InputError(
            f"{path}: offsets must have one number more than there are labels, got {len(offsets)} "
            f"and {len(labels)}"
        )
    X = np.empty((len(labels), PIXELS), np.uint8)
    for i, (start, stop) in enumerate(pairwise(offsets)):
        try:
            with Image.open(io.BytesIO(content[start:stop].tobytes())) as image:
                pixels = np.asarray(image.convert("RGB"))
        except (OSError, UnidentifiedImageError, ValueError) as error:
            raise InputError(f"{path}: image {i} cannot be read: {error}") from None
        if pixels.shape != (SIDE, SIDE, CHANNELS):
            height, width, _ = pixels.shape
            raise InputError(
                f"{path}: image {i} has {height} x {width} pixels, but those of CIFAR-10 have "
                f"{SIDE} x {SIDE}"
            )
        X[i] = pixels.reshape(-1)
    return X, _named(np.asarray(labels), names, path)
