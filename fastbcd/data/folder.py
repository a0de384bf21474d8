"""The form of the files in a folder, and the message for a folder without data."""

from __future__ import annotations

from pathlib import Path

from fastbcd.data.cifar import is_cifar, load_cifar
from fastbcd.data.dataset import Dataset
from fastbcd.data.idx_folder import idx_files, open_idx_folder
from fastbcd.data.npy import npy_files, open_npy_folder
from fastbcd.data.npz import open_shards, shards_of
from fastbcd.data.reading import Sets
from fastbcd.data.sparse_folder import load_sparse_folder, sparse_files
from fastbcd.data.table import is_table
from fastbcd.errors import InputError

# A message shows so many names of files.
SHOWN = 8


def open_folder(folder: Path, training: bool, forms: str) -> Sets | Dataset:
    """Open the data in `folder`; for prediction (not `training`) only what that needs.

    CIFAR-10 is small, and sparse features are for one process, so they are read whole.

    Raises
    ------
    InputError
        The files have none of the `forms`. The message says what the folder holds.
    """
    try:
        if sparse_files(folder):
            return load_sparse_folder(folder, training)
        if npy_files(folder):
            return open_npy_folder(folder, training)
        if is_cifar(folder):
            return load_cifar(folder, training)
        if shards_of(folder):
            return open_shards(folder, training)
        if idx_files(folder):
            return open_idx_folder(folder, training)
        raise InputError(f"{folder} {_described(folder)}; DATA must be {forms}")
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror or error}") from None


def _has_data(folder: Path) -> bool:
    """Return whether a folder holds data of some form."""
    return bool(npy_files(folder) or is_cifar(folder) or shards_of(folder) or idx_files(folder))


def _described(folder: Path) -> str:
    """Describe a folder that has no data."""
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    if not entries:
        return "is an empty folder"
    names = [f"{path.name}/" if path.is_dir() else path.name for path in entries]
    held = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" * (len(names) > SHOWN))
    if {"config.json", "history.csv"} <= set(names):
        return "is the folder of a run, not data"
    for path in entries:
        if path.is_dir() and _has_data(path):
            return f"holds {held}, and the data seem to lie in {path}: name that"
    tables = [path for path in entries if path.is_file() and is_table(path)]
    if tables:
        return f"is a folder that holds {held}; to read a table, name the file: {tables[0]}"
    return f"has none of the needed files; it holds {held}"
