"""NumPy archives with X_train, y_train, X_test, y_test."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fastbcd.data.dataset import Dataset, class_labels, flat_samples
from fastbcd.errors import InputError

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
NAMES = ("X_train", "y_train", "X_test", "y_test")


def load_npz(path: Path, training: bool) -> Dataset:
    """The four arrays of `path`; for prediction X_test alone is enough."""
    try:
        with path.open("rb") as file:
            if file.read(4) not in ZIP_MAGIC:
                raise InputError(f"{path} is not an .npz archive; make one with numpy.savez")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in NAMES if name in archive.files}
                present = ", ".join(archive.files) or "nothing"
    except InputError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read as an .npz archive: {error}") from None
    for name in NAMES if training else ("X_test",):
        if name not in arrays:
            raise InputError(f"{path} has no array {name}; it holds {present}")

    def pair(X_name: str, y_name: str) -> tuple[Any, Any]:
        X = flat_samples(arrays[X_name], f"{X_name} of {path}")
        y = arrays.get(y_name)
        return X, None if y is None else class_labels(y, len(X), f"{y_name} of {path}")

    X_train, y_train = pair("X_train", "y_train") if training else (None, None)
    X_test, y_test = pair("X_test", "y_test")
    return Dataset(path.stem, X_train, y_train, X_test, y_test)
