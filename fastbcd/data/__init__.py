"""Reading of data, or one rank's share: digits, folders of arrays, .npz archives, CSV files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbcd.data.dataset import Dataset
from fastbcd.data.folder import open_folder
from fastbcd.data.idx import ELEMENT_TYPES
from fastbcd.data.npz import open_archive
from fastbcd.data.preprocessing import PREPROCESSINGS, Preprocessing
from fastbcd.data.reading import Allocate, Sets, Unit, read, share
from fastbcd.data.split import split
from fastbcd.data.table import is_parquet, is_table, load_csv
from fastbcd.data.tables.loading import load_table
from fastbcd.data.tables.options import TableOptions
from fastbcd.devices.ranks import Ranks, SingleProcess, collective_errors
from fastbcd.errors import InputError
from fastbcd.files.atomic import user_path
from fastbcd.support.floating_point import own_errstate

if TYPE_CHECKING:
    from fastbcd.data.tables.encoder import TableEncoder

FORMS = (
    "a folder of MNIST-style IDX files, of four .npy arrays (sparse features: X_train.npz and "
    "X_test.npz of scipy.sparse.save_npz), of .npz shards or of CIFAR-10, an "
    ".npz archive, or a .csv, .tsv (packed or not: .csv.gz) or .parquet file"
)


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
    table: TableOptions | None = None,
) -> Dataset:
    """Read this rank's rows of `source`; None is the digits set of scikit-learn.

    The headers are read first, then the wanted rows in blocks: no rank ever holds more than these
    and one block. Uncompressed features in the machine's byte order stay in their file, as a
    `numpy.memmap`. A compressed file is read from its beginning to the last wanted row; damage
    after that row is found by the ranks that read on. CSV files and digits are small: each rank
    reads all of them, splits them in the same way, and takes its rows.

    Parameters
    ----------
    source : str, Path or None
        A folder of IDX files, a folder of ``X_train.npy``, ``y_train.npy``, ``X_test.npy`` and
        ``y_test.npy``, the same with sparse features in ``X_train.npz`` and ``X_test.npz`` of
        `scipy.sparse.save_npz`, a folder of ``.npz`` shards, a folder of CIFAR-10 (batches pickled
        by Python or binary, or ``train.npz`` and ``test.npz`` with images in JPEG), an ``.npz``, a
        ``.csv`` or ``.tsv``, compressed (``.gz``) or not, or None. Endings may have letters of any
        case, and arrays may have other usual names, such as ``x_train`` and ``train_images``. ``~``
        is the user's home.
    target : str, optional
        Column of a CSV file with the labels.
    target_required : bool, default=False
        The user asked for `target`: raise an error if there is no such column.
    test_fraction : float, default=0.2
        Share, in (0, 1), of digits or a CSV file that is held out.
    training : bool, default=True
        If False, only the data for prediction are read and required.
    held_out : bool, default=False
        For prediction on a CSV file: read only the rows that training held out.
    index : bool, default=False
        Keep leading columns of row numbers without a name, as pandas writes them.
    ranks : Ranks, optional
        Each rank gets its ``ranks.rows`` of the training set and of the test set, which may be
        none. Default: one process gets all rows.
    allocate : callable, optional
        ``allocate(shape, dtype)`` makes the array for features that do not stay in their file.
        Default: `numpy.empty`. Labels are always in memory.
    unit : callable, optional
        ``unit(n_features)`` is a number of rows; each rank's share of the training set is a
        multiple of it, as in `fastbcd.devices.ranks.Ranks.rows`. Default: 1.
    table : TableOptions, optional
        Lets a table have columns of any kind, and numbers as targets. Without it all columns of a
        CSV file but the target must be numbers.

    Raises
    ------
    InputError
        The message names the file and the remedy. All ranks raise what one of them finds.
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
            table=table,
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
    table: TableOptions | None,
) -> Sets | Dataset:
    """Open the sources of `source`, or read all of it if it is small."""
    if source is not None and not isinstance(source, str):
        raise InputError(f"DATA must be a path, got {source!r}; it is {FORMS}")
    if not 0 < test_fraction < 1:
        raise InputError(f"test fraction must lie between 0 and 1, got {test_fraction}")
    if source is not None and not Path(source).exists():
        raise InputError(f"{source} does not exist; DATA must be {FORMS}")
    if target_required and (source is None or not is_table(Path(source))):
        raise InputError(f"--target names a column of a CSV file, but DATA is {source or 'digits'}")
    if source is None:
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        # `Preprocessing` scales integers as grey levels: these are 8 x 8 images with 17 of them.
        return split("digits", X.astype(np.uint8), y, test_fraction)
    path = Path(source)
    if path.is_dir() and (path / path.name).is_file():
        path = path / path.name  # some archives unpack a file into a folder of the same name
    if path.is_dir():
        return open_folder(path, training, FORMS)
    if is_table(path):
        form = path, target, target_required, test_fraction, training, held_out, index
        if table is None and is_parquet(path):
            table = TableOptions()
        return load_csv(*form) if table is None else load_table(*form, table)
    if path.suffix.lower() == ".npz":
        return open_archive(path, training)
    raise InputError(f"{path} {_refused(path)}; DATA must be {FORMS}")


def _refused(path: Path) -> str:
    """Describe a file that cannot be DATA, by its first bytes."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic == b"\x93NUMPY":
        return "is one array; name the folder that holds all four, or pack them by numpy.savez"
    if magic[:2] == b"\0\0" and magic[2:3] and magic[2] in ELEMENT_TYPES:
        return f"is one IDX file; name the folder that holds all four, {path.parent}"
    return f"has an unknown ending {path.suffix!r}"


__all__ = ["PREPROCESSINGS", "Dataset", "Preprocessing", "TableEncoder", "TableOptions", "load"]


def __getattr__(name: str) -> Any:
    """The transformer, imported when it is asked for: only it needs scikit-learn."""
    if name == "TableEncoder":
        from fastbcd.data.tables.encoder import TableEncoder

        globals()[name] = TableEncoder
        return TableEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
