"""Reading data: digits, IDX folders, .npz archives, CSV files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastbcd.data.dataset import Dataset
from fastbcd.data.idx import load_idx
from fastbcd.data.npz import load_npz
from fastbcd.data.preprocessing import PREPROCESSINGS, Preprocessing
from fastbcd.data.split import split
from fastbcd.data.table import load_csv
from fastbcd.errors import InputError

FORMS = "a folder of MNIST-style IDX files, an .npz archive, or a .csv file"


def load(
    source: str | None,
    *,
    target: str | None = None,
    target_required: bool = False,
    test_fraction: float = 0.2,
    training: bool = True,
    held_out: bool = False,
) -> Dataset:
    """Read `source`; None is the digits set that scikit-learn ships.

    Parameters
    ----------
    source : str or None
        A folder of IDX files, an ``.npz``, a ``.csv``, or None.
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

    Raises
    ------
    InputError
        Naming the file and what would be right.
    """
    if not 0 < test_fraction < 1:
        raise InputError(f"test fraction must lie between 0 and 1, got {test_fraction}")
    if target_required and (source is None or not source.endswith(".csv")):
        raise InputError(f"--target names a column of a CSV file, but DATA is {source or 'digits'}")
    if source is None:
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        # 8 x 8 images with 17 grey levels, kept as integers: see `Preprocessing`.
        return split("digits", X.astype(np.uint8), y, test_fraction)
    path = Path(source)
    if path.is_dir():
        return load_idx(path, training)
    if not path.exists():
        raise InputError(f"{path} does not exist; DATA must be {FORMS}")
    if path.suffix == ".npz":
        return load_npz(path, training)
    if path.suffix == ".csv":
        return load_csv(path, target, target_required, test_fraction, training, held_out)
    raise InputError(f"{path} has an unknown ending {path.suffix!r}; DATA must be {FORMS}")


__all__ = ["PREPROCESSINGS", "Dataset", "Preprocessing", "load"]
