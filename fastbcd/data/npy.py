"""NumPy's .npy files, and folders with the four of a training and a test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from fastbcd.data.names import NAMES, by_role
from fastbcd.data.reading import Sets
from fastbcd.data.source import Source, check_size, reporting
from fastbcd.errors import InputError


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Return shape, type, whether the first axis runs fastest, and the elements' first byte.

    Raises
    ------
    ValueError
        The `file` is not in the format, or has Python objects.
    """
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = npy.read_array_header_2_0(file)
    else:  # version 3 is for structured arrays
        raise ValueError(f"version {version} of the format is not for plain arrays")
    if dtype.hasobject:
        raise ValueError(
            "Object arrays cannot be loaded: they may run code; save texts by astype(str)"
        )
    if dtype.itemsize == 0 or min(shape, default=0) < 0:
        raise ValueError(f"no array has {shape} elements of {dtype}")
    return shape, dtype, fortran, file.tell()


def open_npy(path: Path) -> Source:
    """Open the array in a .npy file.

    Raises
    ------
    InputError
        It is not such a file, or has another length than its header says.
    """
    errors = (OSError, EOFError, ValueError)
    with reporting(path, errors, " as a .npy file"), path.open("rb") as file:
        shape, dtype, fortran, offset = read_header(file)
    source = Source(str(path), path, shape, dtype, offset, fortran)
    check_size(source)
    return source


def npy_files(folder: Path) -> dict[str, Path]:
    """Return the .npy files of `folder`, keyed by the array that each is."""
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".npy"]
    files = {path.stem: path for path in paths if path.is_file() and path.name[0] != "."}
    return {role: files[name] for role, name in by_role(files, str(folder)).items()}


def open_npy_folder(folder: Path, training: bool) -> Sets:
    """Open X_train.npy, y_train.npy, X_test.npy and y_test.npy; X_test.npy will do to predict."""
    paths = npy_files(folder)
    for name in NAMES if training else ("X_test",):
        if name not in paths:
            held = ", ".join(sorted(path.stem for path in paths.values()))
            raise InputError(f"{folder} has no {name}.npy; it holds {held}")
    return Sets.of(
        folder.resolve().name,
        training,
        lambda name: [open_npy(paths[name])] if name in paths else [],
    )
