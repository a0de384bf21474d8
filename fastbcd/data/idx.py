"""Folders of MNIST-style IDX files, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.dataset import Dataset, class_labels, flat_samples
from fastbcd.errors import InputError

# Third byte of the magic number -> element type (big-endian).
ELEMENT_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


MAX_RANK = 8


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an IDX file: two zero bytes, type, rank, sizes (big-endian), elements.

    Raises
    ------
    InputError
        Not an IDX file, truncated, longer than it says, or a damaged gzip file.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in ELEMENT_TYPES:
        raise InputError(f"{path} is not an IDX file: its magic number is {content[:4].hex()}")
    element, rank = np.dtype(ELEMENT_TYPES[content[2]]), content[3]
    start = 4 + 4 * rank
    expected = start
    if len(content) >= start:
        shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
        expected += math.prod(shape) * element.itemsize
    if len(content) < expected:
        raise InputError(f"{path} is truncated: {len(content)} bytes of {expected}")
    if len(content) > expected:
        raise InputError(f"{path} has {len(content)} bytes where its header says {expected}")
    if rank > MAX_RANK or 0 in shape:
        raise InputError(f"{path} holds no samples: its header says sizes {shape}")
    array = np.frombuffer(content, element, offset=start).reshape(shape)
    return array.astype(element.newbyteorder("="))


def find(folder: Path, stem: str) -> Path:
    """The file of `stem`, such as ``train-images-idx3-ubyte``, gzipped or not."""
    for name in (stem, stem.replace("-idx", ".idx")):
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.exists():
                return candidate
    raise InputError(f"{folder} has no {stem} or {stem}.gz, one of the four IDX files it needs")


def _read_pair(folder: Path, prefix: str) -> tuple[NDArray[Any], NDArray[Any]]:
    images = find(folder, f"{prefix}-images-idx3-ubyte")
    labels = find(folder, f"{prefix}-labels-idx1-ubyte")
    X = flat_samples(read_idx(images), str(images))
    return X, class_labels(read_idx(labels), len(X), str(labels))


def load_idx(folder: Path, training: bool) -> Dataset:
    """The four files of `folder`; only the two test files unless `training`."""
    X_train, y_train = _read_pair(folder, "train") if training else (None, None)
    X_test, y_test = _read_pair(folder, "t10k")
    return Dataset(folder.resolve().name, X_train, y_train, X_test, y_test)
