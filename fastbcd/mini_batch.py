"""The name that `fastbcd.solvers.mini_batch` had in the release before; it goes in the next one."""

from __future__ import annotations

from fastbcd.kernels.streams import warn
from fastbcd.solvers.mini_batch import MiniBatchState, MiniBatchThreeSplitting, Settings

__all__ = ["MiniBatchState", "MiniBatchThreeSplitting", "Settings"]

warn(
    "fastbcd.mini_batch is now called fastbcd.solvers.mini_batch", DeprecationWarning, stacklevel=2
)
