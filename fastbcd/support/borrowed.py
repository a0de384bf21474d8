"""Copies of borrowed arrays: a run that updates arrays in place must own them."""

from __future__ import annotations

from typing import Any

import numpy as np


def copy_borrowed(
    *holders: Any, names: tuple[str, ...], mapped: bool = False, keep: Any = None
) -> None:
    """Replace arrays of `holders` that must not be written to by copies with the same values.

    A state has read-only arrays, or arrays in a file, after ``joblib.load(mmap_mode=...)`` or when
    joblib passes it to a worker process. An array that two attributes share is copied once, and
    they go on sharing it. All other arrays stay where they are.

    Parameters
    ----------
    holders : objects
    names : tuple of str
        Attributes that may be an array or a list of arrays. Other values, and attributes that a
        holder lacks, are skipped.
    mapped : bool, default=False
        Copy writable arrays of mapped files, too.
    keep : array, optional
        An array that stays as it is, because nothing is written to it.
    """
    copies: dict[int, Any] = {}

    def own(value: Any) -> Any:
        if value is keep or not isinstance(value, np.ndarray):
            return value
        if value.flags.writeable and not (mapped and isinstance(value, np.memmap)):
            return value
        if id(value) not in copies:
            copies[id(value)] = np.array(value, order="C")
        return copies[id(value)]

    for holder in holders:
        for name in names:
            value = getattr(holder, name, None)
            if isinstance(value, list):
                value[:] = [own(part) for part in value]
            elif isinstance(value, np.ndarray):
                setattr(holder, name, own(value))
