"""The scaling of targets that are numbers, which a model undoes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.moments import Vector, is_constant, moments
from fastbcd.devices.ranks import SINGLE_PROCESS, Ranks
from fastbcd.errors import InputError

Array = NDArray[np.float64]


def fit_target_scaling(
    Y: Array,
    log_link: bool,
    weight: Vector | None = None,
    ranks: Ranks = SINGLE_PROCESS,
    name: str = "y",
) -> tuple[Vector | None, Vector]:
    """Return shift and scale (k,) of targets Y (n, k): their mean and deviation, or None and mean.

    The latter is for a `log_link`: all units have the same logarithms, but for a constant. The
    deviation of a constant target counts as 1.

    Parameters
    ----------
    Y : (n, k) array
    log_link : bool
        Whether outputs of the network are logarithms.
    weight : (n,) array, optional
    ranks : Ranks, optional
        Each rank has rows of its own.
    name : str, default="y"
        Name of the targets, for the error.

    Raises
    ------
    InputError
        Mean or deviation overflow.
    """
    with np.errstate(all="ignore"):
        shift, scale = moments(Y, weight, ranks)
    if log_link:
        scale = np.where(shift > 0.0, shift, 1.0)
    if not (np.isfinite(shift) & np.isfinite(scale)).all():
        raise InputError(f"{name}: its numbers are too large to scale")
    if log_link:
        return None, scale
    return shift, np.where(is_constant(shift, scale), 1.0, scale)
