"""The CPU device: tiles of samples on threads of our own, serial compiled kernels on each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastbcd import kernels
from fastbcd.devices.cpu_batches import CPUBatches
from fastbcd.devices.cpu_solves import CPUSolves
from fastbcd.devices.ranks import Ranks, SingleProcess
from fastbcd.devices.storage.arrays import Memory, Storage
from fastbcd.devices.sums import SampleSum
from fastbcd.devices.threads import resolve_threads, serial_blas, start_of_thread
from fastbcd.devices.tiles import Tile, even_size, for_each_tile
from fastbcd.devices.workspace import Buffer, Pool, Workspace, Workspaces
from fastbcd.errors import InputError
from fastbcd.kernels import Penalty
from fastbcd.support.forks import renew_in_children
from fastbcd.support.parameters import require_integer

Array = NDArray[Any]
T = TypeVar("T")

# A tile of the widest layer has about this many bytes, so that the handful of
# arrays a pass touches stay in the last-level cache (see benchmarks/NOTES.md).
TILE_BYTES = 4 * 2**20
MIN_TILE_ROWS = 128
# Samples of a mini-batch that a thread takes at a time: fewer would pack W anew for each of them,
# and the size must not follow from the number of threads, or results would.
BATCH_TILE_ROWS = 256
# Rows (or columns) of a d x d solve that one thread takes at a time.
SOLVE_ROWS = 256
SINGLE_PROCESS = SingleProcess()


class RowWork(Workspace):
    """Work space for kernels that go through a tile row by row."""

    rows: Buffer


class CPU:
    """Executes block updates on the processor.

    Parallelism lies over tiles of samples: each thread takes a tile through all
    its kernels and one-threaded BLAS calls while the tile is in cache. Tiles and
    the order of sums do not depend on the number of threads, so neither does any
    result, to the last bit.

    Parameters
    ----------
    n_threads : int, optional
        Default: as many as BLAS would use.
    tile_rows : int, optional
        Samples in a tile; default: as many as fit the cache. Changes results in
        the last digits.
    ranks : Ranks, optional
        The processes that share the samples; default: this one alone.
    storage : Storage, optional
        Where arrays of samples are; default: in memory.
    """

    name = "cpu"
    kernels = kernels
    """What runs on one tile: each device has functions of these names and arguments."""

    def __init__(
        self,
        n_threads: int | None = None,
        tile_rows: int | None = None,
        ranks: Ranks = SINGLE_PROCESS,
        storage: Storage | None = None,
    ) -> None:
        self.ranks = ranks
        self.storage: Storage = Memory() if storage is None else storage
        self.n_threads = resolve_threads(n_threads, ranks.sharing_processors)
        self._tile_rows = (
            None if tile_rows is None else require_integer(tile_rows, "tile_rows", at_least=1)
        )
        self._start()

    def _start(self) -> None:
        self.work, self.pool = Workspaces(np.empty), Pool(np.empty)
        self.solves = CPUSolves(self.ranks, self.pool, self.for_each_block)
        self.batches = CPUBatches()
        self._threads = [Workspaces(np.empty) for _ in range(self.n_threads)]
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.RLock()
        renew_in_children(self)

    def renew_after_fork(self) -> None:
        """A child of `fork` has none of the threads, and a lock that one of them may have held."""
        self._start()

    def __getstate__(self) -> dict[str, Any]:
        if self.ranks.size > 1:
            raise TypeError("a solver that is spread over ranks cannot be pickled: its comm cannot")
        names = ("n_threads", "_tile_rows", "storage")
        return {"ranks": SINGLE_PROCESS, **{name: getattr(self, name) for name in names}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    @contextmanager
    def session(self) -> Iterator[None]:
        """Threads start on entry and end on exit; products use one thread each meanwhile."""
        with self._lock, serial_blas():
            if self._pool is not None or self.n_threads == 1:
                yield
                return
            with ThreadPoolExecutor(self.n_threads, "fastbcd", start_of_thread) as self._pool:
                try:
                    yield
                finally:
                    self._pool = None

    # -- arrays -------------------------------------------------------------------------------

    def as_input(self, data: Any) -> Any:
        """`data` as a caller gave them; `InputError` for an array of a GPU."""
        if hasattr(data, "__cuda_array_interface__"):
            raise InputError(
                f"{type(data).__module__} array on a GPU: give device='cuda' to train there, or "
                "copy the array to the processor first"
            )
        return data

    def array(self, data: Any, dtype: Any) -> Array:
        """`data` as a contiguous array of this device; not copied where it is one already."""
        return np.ascontiguousarray(data, dtype)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An uninitialised array of this device."""
        return np.empty(shape, dtype)

    def blocks(self, array: Any) -> Iterator[slice]:
        """Slices of rows of an array of samples, to go through all of it in pieces."""
        return self.storage.blocks(array)

    def done_with(self, array: Any, rows: slice) -> None:
        """These rows of an array of samples need not stay in memory for now."""
        self.storage.done_with(array, rows)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of zeros of this device."""
        return np.zeros(shape, dtype)

    def copy(self, array: Array) -> Array:
        """A copy of `array`."""
        return array.copy()

    def numpy(self, array: Array) -> Array:
        """`array` as a NumPy array."""
        return array

    def scaled(self, out: Array, A: Array, factor: float) -> None:
        """``out = factor A``, the factor rounded to the type of A."""
        np.multiply(A, A.dtype.type(factor), out=out)

    def work_of_rows(self, tile: Tile, V: Array) -> Array:
        """Three rows: the kernels take one sample after the other."""
        return tile.work.of(RowWork).rows.array((3, V.shape[1]), np.float64)

    # -- passes over samples ------------------------------------------------------------------

    def for_each_tile(
        self,
        n: int,
        widths: tuple[int, ...],
        dtype: Any,
        body: Callable[[Tile], None],
        even: bool = False,
        arrays: Sequence[Any] = (),
    ) -> None:
        """Call ``body(tile)`` for tiles of n samples, shared among the threads.

        With `even`, tiles are small and made as equal as they can be: for a mini-batch. `arrays`
        are those whose rows the body reads or writes, of n rows each.
        """
        rows = self.tile_rows(widths, dtype)
        if even and n:
            rows = even_size(n, BATCH_TILE_ROWS if self._tile_rows is None else self._tile_rows)
        with self.storage.stream(n, rows, arrays, self.n_threads) as around:
            for_each_tile(n, rows, around(body), self._threads, self._pool)

    def tile_rows(self, widths: tuple[int, ...], dtype: Any) -> int:
        """Samples in a tile of a network of such widths."""
        if self._tile_rows is not None:
            return self._tile_rows
        row_bytes = max(widths) * np.dtype(dtype).itemsize
        return max(MIN_TILE_ROWS, TILE_BYTES // row_bytes)

    def for_each_block(self, n: int, body: Callable[[slice], None]) -> None:
        """Call ``body(block)`` for blocks of n rows of a small matrix, shared among the threads."""
        for_each_tile(n, SOLVE_ROWS, lambda tile: body(tile.rows), self._threads, self._pool)

    def for_each_item(self, items: Sequence[T], body: Callable[[T, Workspaces], None]) -> None:
        """Call ``body(item, work)`` for independent pieces of work, shared among the threads."""

        def of_tile(tile: Tile) -> None:
            body(items[tile.index], tile.work)

        for_each_tile(len(items), 1, of_tile, self._threads, self._pool)

    def sum_over_ranks(self, array: Array) -> None:
        """Add up a contiguous `array` over the ranks, in place."""
        self.ranks.sum(array)

    def same_on_all_ranks(self, W: Array) -> None:
        """Rows of W from the rank that answers for them, on all: they computed all of them."""
        self.ranks.share_rows(W)

    def sum(self, shape: int | tuple[int, ...]) -> SampleSum:
        """A sum over samples, to which tiles add."""
        return SampleSum(shape, self.ranks)

    def largest(self, values: Sequence[float], at_least: float, otherwise: float) -> float:
        """The largest of `values` (>= 0) of all ranks where it exceeds `at_least`."""
        largest = np.array([max(values)])
        self.ranks.max(largest)
        return float(largest[0]) if largest[0] > at_least else otherwise

    # -- penalties ----------------------------------------------------------------------------

    def penalty_sum(self, penalty: Penalty, W: Array, *sample_weight: Array) -> float:
        """``r(W)``, without passing over W where r is 0."""
        return 0.0 if penalty.ridge == 0.0 else kernels.penalty_sum(penalty, W, *sample_weight)

    def project(self, W: Array, penalty: Penalty) -> None:
        """W to the nearest values for which the penalty is finite, in place."""
        if penalty.ridge is None:
            kernels.project(W, penalty)
