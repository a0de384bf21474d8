"""Reading data, one rank's part of it: digits, folders of arrays, .npz archives, CSV files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from fastbcd.data.dataset import Dataset
from fastbcd.data.folder import open_folder
from fastbcd.data.idx import ELEMENT_TYPES
from fastbcd.data.npz import open_archive
from fastbcd.data.preprocessing import PREPROCESSINGS, Preprocessing
from fastbcd.data.reading import Allocate, Sets, Unit, read, share
from fastbcd.data.split import split
from fastbcd.data.table import load_csv
from fastbcd.devices.ranks import Ranks, SingleProcess, collective_errors
from fastbcd.errors import InputError
from fastbcd.files.atomic import user_path
from fastbcd.support.floating_point import own_errstate

FORMS = (
    "a folder of MNIST-style IDX files, of four .npy arrays or of .npz shards, an .npz archive, or "
    "a .csv or .tsv file (packed or not: .csv.gz)"
)
TABLES = (".csv", ".tsv", ".tab")


@own_errstate
def load(
    source: str | Path | None,
    *,
    target: str | None = None,
    target_required: bool = False,
    test_fraction: float = 0.2,
    training: bool = True,
    held_out: bool = False,
    index: bool = False,
    ranks: Ranks | None = None,
    allocate: Allocate | None = None,
    unit: Unit = lambda n_features: 1,
) -> Dataset:
    """Read `source`, this rank's rows of it; None is the digits set that scikit-learn ships.

    Headers come first, then blocks of the rows that are wanted: no rank ever holds more than these
    and a block. Features that lie in a file as memory needs them, uncompressed and with the
    machine's order of bytes, stay there: such an array is a `numpy.memmap`. What is compressed is
    read from its beginning, so that damage behind a rank's rows is found by others. CSV files and
    digits are small: every rank reads them whole, splits them in the same way, and cuts.

    Parameters
    ----------
    source : str, Path or None
        A folder of IDX files, of ``X_train.npy``, ``y_train.npy``, ``X_test.npy``, ``y_test.npy``,
        or of ``.npz`` shards, an ``.npz``, a ``.csv`` or ``.tsv``, packed (``.gz``) or not, or
        None. Endings may have letters of any case, and arrays their other usual names, such as
        ``x_train`` and ``train_images``. ``~`` is the user's folder.
    target : str, optional
        Column of a CSV that holds the labels.
    target_required : bool, default=False
        The user asked for `target`: it is an error where it cannot be had.
    test_fraction : float, default=0.2
        Of digits or a CSV that is held out, in (0, 1).
    training : bool, default=True
        False: only what is to be predicted is read and demanded.
    held_out : bool, default=False
        For prediction on a CSV: the rows that training held out, not all.
    index : bool, default=False
        Keep columns of row numbers, which a CSV by pandas has in front and without a name.
    ranks : Ranks, optional
        Each gets its ``ranks.rows`` of the training set and of the test set, and may get none.
        Default: one process, all rows.
    allocate : callable, optional
        ``allocate(shape, dtype)`` makes the array that features are read into, where they do not
        stay in their file. Default: `numpy.empty`. Labels are always in memory.
    unit : callable, optional
        ``unit(n_features)``: of so many rows of the training set, or whole multiples, are the
        shares of ranks, as in `fastbcd.devices.ranks.Ranks.rows`. Default: 1.

    Raises
    ------
    InputError
        Naming the file and what would be right; on all ranks where one finds something wrong.
    """
    ranks = SingleProcess() if ranks is None else ranks
    into: Allocate = np.empty if allocate is None else allocate
    with collective_errors(ranks):
        found = _find(
            str(user_path(source)) if isinstance(source, str | os.PathLike) else source,
            target,
            target_required,
            test_fraction,
            training=training,
            held_out=held_out,
            index=index,
        )
        if isinstance(found, Sets):
            return read(found, ranks, into, unit)
        alone = ranks.size == 1 and allocate is None
        return found if alone else share(found, ranks, into, unit)


def _find(
    source: str | None,
    target: str | None,
    target_required: bool,
    test_fraction: float,
    training: bool,
    held_out: bool,
    index: bool,
) -> Sets | Dataset:
    """Sources to read from, or all of what is read as a whole."""
    if source is not None and not isinstance(source, str):
        raise InputError(f"DATA must be a path, got {source!r}; it is {FORMS}")
    if not 0 < test_fraction < 1:
        raise InputError(f"test fraction must lie between 0 and 1, got {test_fraction}")
    if source is not None and not Path(source).exists():
        raise InputError(f"{source} does not exist; DATA must be {FORMS}")
    if target_required and (source is None or not _is_table(Path(source))):
        raise InputError(f"--target names a column of a CSV file, but DATA is {source or 'digits'}")
    if source is None:
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        # 8 x 8 images with 17 grey levels, kept as integers: see `Preprocessing`.
        return split("digits", X.astype(np.uint8), y, test_fraction)
    path = Path(source)
    if path.is_dir() and (path / path.name).is_file():
        path = path / path.name  # some archives unpack a file into a folder of its name
    if path.is_dir():
        return open_folder(path, training, FORMS)
    if _is_table(path):
        return load_csv(path, target, target_required, test_fraction, training, held_out, index)
    if path.suffix.lower() == ".npz":
        return open_archive(path, training)
    raise InputError(f"{path} {_refused(path)}; DATA must be {FORMS}")


def _is_table(path: Path) -> bool:
    """Whether a file's name is that of a table, in letters of any case, packed or not."""
    name = re.sub(r"\.(gz|bz2|xz)$", "", path.name.lower())
    return name.endswith(TABLES)


def _refused(path: Path) -> str:
    """What a file is that cannot be DATA, as far as its first bytes say it."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic == b"\x93NUMPY":
        return "is one array; name the folder that holds all four, or pack them by numpy.savez"
    if magic[:2] == b"\0\0" and magic[2:3] and magic[2] in ELEMENT_TYPES:
        return f"is one IDX file; name the folder that holds all four, {path.parent}"
    return f"has an unknown ending {path.suffix!r}"


__all__ = ["PREPROCESSINGS", "Dataset", "Preprocessing", "load"]
