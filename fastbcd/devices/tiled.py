"""The common part of the devices of this package: parameters, tiles, pickles and penalties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from fastbcd.devices.ranks import SINGLE_PROCESS, Ranks
from fastbcd.devices.storage.arrays import Storage
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.kernels import Penalty
from fastbcd.support.parameters import optional, require_integer


class RowWork(Workspace):
    """Work space for kernels that go through a tile row by row."""

    rows: Buffer


class TiledDevice:
    """Base of `CPU` and `CUDA`, whose docstrings describe the parameters."""

    tile_bytes: ClassVar[int]
    """A tile of the widest layer has about this many bytes."""
    min_tile_rows: ClassVar[int]
    kept: ClassVar[tuple[str, ...]] = ("n_threads", "_tile_rows", "precision")
    """The attributes that a pickle has."""
    precision: str = "float32"
    n_threads: Any
    kernels: Any
    storage: Storage

    def __init__(
        self,
        n_threads: int | None = None,
        tile_rows: int | None = None,
        ranks: Ranks = SINGLE_PROCESS,
        precision: str = "float32",
    ) -> None:
        self.ranks, self.n_threads, self.precision = ranks, n_threads, precision
        self._tile_rows = optional(require_integer, tile_rows, "tile_rows", at_least=1)
        self._start()

    def _start(self) -> None:
        """Make what a pickle does not have: memory, threads, libraries."""

    def __getstate__(self) -> dict[str, Any]:
        if self.ranks.size > 1:
            raise TypeError("a solver that is spread over ranks cannot be pickled: its comm cannot")
        return {"ranks": SINGLE_PROCESS, **{name: getattr(self, name) for name in self.kept}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def copy(self, array: Any) -> Any:
        """Return a copy of `array`."""
        return array.copy()

    def blocks(self, array: Any) -> Iterator[slice]:
        """Yield slices that cover the rows of an array of samples."""
        return self.storage.blocks(array)

    def tile_rows(self, widths: tuple[int, ...], dtype: Any) -> int:
        """Return the number of samples in a tile of a network of such widths."""
        if self._tile_rows is not None:
            return self._tile_rows
        row_bytes = max(widths) * np.dtype(dtype).itemsize
        return max(self.min_tile_rows, self.tile_bytes // row_bytes)

    def penalty_sum(self, penalty: Penalty, W: Any, *sample_weight: Any) -> Any:
        """Return ``sum_i c_i r(W_i)`` over rows W_i, without a pass over W if r is 0."""
        if penalty.ridge == 0.0:
            return 0.0
        return self.kernels.penalty_sum(penalty, W, *sample_weight)
