"""Arrays that a run updates in place: they must be its own, wherever its state came from."""

from __future__ import annotations

from typing import Any

import numpy as np


def make_own(*holders: Any, names: tuple[str, ...], mapped: bool = False, but: Any = None) -> None:
    """Replace arrays of `holders` that must not be written to by copies with the same values.

    A state that was read by ``joblib.load(mmap_mode=...)``, or that joblib handed to a worker,
    has arrays that are read-only, or that are a file's. An array that two attributes share is
    copied once, so that they share it still. All other arrays stay where they are.

    Parameters
    ----------
    holders : objects
    names : tuple of str
        Attributes of theirs that are an array, a list of arrays or anything else; what a holder
        lacks is passed over.
    mapped : bool, default=False
        Whether arrays of a mapped file are copied, too, that may be written to.
    but : array, optional
        This one stays: nobody writes to it.
    """
    copies: dict[int, Any] = {}

    def own(value: Any) -> Any:
        if value is but or not isinstance(value, np.ndarray):
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
