"""Folders with sparse features, X_train.npz and X_test.npz of SciPy, and labels in .npy files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fastbcd.data.dataset import Dataset, class_labels
from fastbcd.data.names import by_role
from fastbcd.data.npy import npy_files
from fastbcd.data.npz import ERRORS, FORM, shards_of
from fastbcd.data.source import reporting
from fastbcd.data.sparse import sparse_rows
from fastbcd.errors import InputError


def sparse_files(folder: Path) -> dict[str, Path]:
    """Return the archives of `folder`, keyed by X_train and X_test; none unless one is sparse."""
    files = {path.stem: path for path in shards_of(folder)}
    if not any(map(_is_sparse, files.values())):
        return {}
    return {role: files[name] for role, name in by_role(files, str(folder)).items()}


def load_sparse_folder(folder: Path, training: bool) -> Dataset:
    """Read X_train.npz, y_train.npy, X_test.npz and y_test.npy; X_test.npz will do to predict.

    The features are those of `scipy.sparse.save_npz`. `InputError` if a file is missing or damaged,
    or the features are no finite numbers.
    """
    features, labels = sparse_files(folder), npy_files(folder)
    needed = {"X_train": features, "y_train": labels, "X_test": features, "y_test": labels}
    for name, there in needed.items() if training else (("X_test", features),):
        if name not in there:
            ending = ".npz" if there is features else ".npy"
            raise InputError(
                f"{folder} has no {name}{ending}, beside the sparse features of "
                f"{', '.join(path.name for path in features.values())}"
            )
    parts: dict[str, Any] = {"X_train": None, "y_train": None}
    for part in ("train", "test") if training else ("test",):
        X = parts[f"X_{part}"] = _features(features[f"X_{part}"])
        path = labels.get(f"y_{part}")
        parts[f"y_{part}"] = None if path is None else _labels(path, len(X))
    return Dataset(name=folder.resolve().name, **parts)


def _is_sparse(path: Path) -> bool:
    """Whether an archive has the members of a sparse matrix; not if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"format.npy", "shape.npy", "data.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _features(path: Path) -> Any:
    from scipy.sparse import load_npz  # takes a moment to load

    with reporting(path, ERRORS, FORM), path.open("rb") as file:  # scipy would not close it
        matrix = load_npz(file)
    return sparse_rows(matrix, str(path))


def _labels(path: Path, n: int) -> Any:
    with reporting(path, (OSError, EOFError, ValueError), " as a .npy file"):
        y = np.load(path, allow_pickle=False)
    return class_labels(y, n, str(path))
