"""The CPU device: it shares tiles of samples among threads, which run serial compiled kernels."""

from __future__ import annotations

import math
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
from fastbcd.devices.ranks import SINGLE_PROCESS, Ranks
from fastbcd.devices.storage.arrays import Storage
from fastbcd.devices.sums import SampleSum
from fastbcd.devices.threads import resolve_threads, serial_blas, start_of_thread
from fastbcd.devices.tiled import RowWork, TiledDevice
from fastbcd.devices.tiles import Tile, even_size, for_each_tile
from fastbcd.devices.workspace import Pool, Workspaces
from fastbcd.errors import InputError
from fastbcd.kernels import Penalty
from fastbcd.support.forks import renew_in_children

Array = NDArray[Any]
T = TypeVar("T")

# A tile of the widest layer has about this many bytes, so that the few arrays of a pass stay in the
# last-level cache (see benchmarks/NOTES.md).
TILE_BYTES = 4 * 2**20
MIN_TILE_ROWS = 128
# Most samples of a mini-batch that a thread takes at a time; of a smaller batch it takes half. With
# fewer, BLAS would pack W too often. None of these numbers depends on that of threads, because
# results must not.
BATCH_TILE_ROWS = 256
# With fewer multiplications in its forward pass a tile is not worth a thread, which has to be woken
# and waited for (see benchmarks/NOTES.md).
BATCH_TILE_MULTIPLICATIONS = 2.5e7
# Rows (or columns) of a d x d solve that a thread takes at a time.
SOLVE_ROWS = 256


class CPU(TiledDevice):
    """Runs block updates on the processor.

    Threads share tiles of samples: a thread takes a tile through all kernels and one-threaded BLAS
    calls while the tile is in cache. Tiles and the order of sums do not depend on the number of
    threads. So no result depends on it, to the last bit.

    Parameters
    ----------
    n_threads : int, optional
        Default: as many as BLAS would use.
    tile_rows : int, optional
        Number of samples in a tile; default: as many as fit the cache. It changes the last digits
        of results.
    ranks : Ranks, optional
        The processes that share the samples; default: this one alone.
    storage : Storage, optional
        The storage of arrays of samples; default: memory.
    precision : {"float32", "bf16"}
        With "bf16" float32 products of batches round their factors to bfloat16.
    """

    name = "cpu"
    kernels: Any = kernels
    """Functions that run on one tile; each device has them with these names and arguments."""
    tile_bytes, min_tile_rows = TILE_BYTES, MIN_TILE_ROWS
    kept = (*TiledDevice.kept, "storage")

    def __init__(
        self,
        n_threads: int | None = None,
        tile_rows: int | None = None,
        ranks: Ranks = SINGLE_PROCESS,
        storage: Storage | None = None,
        precision: str = "float32",
    ) -> None:
        self.storage = Storage() if storage is None else storage
        n_threads = resolve_threads(n_threads, ranks.sharing_processors)
        super().__init__(n_threads, tile_rows, ranks, precision)

    def _start(self) -> None:
        self.work, self.pool = Workspaces(np.empty), Pool(np.empty)
        self.batches = CPUBatches(rounds=self.precision == "bf16")
        self._threads = [Workspaces(np.empty) for _ in range(self.n_threads)]
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.RLock()
        renew_in_children(self)

    def renew_after_fork(self) -> None:
        """Start again: a child of `fork` has no threads, but a lock that one may have held."""
        self._start()

    @property
    def solves(self) -> CPUSolves:
        """Sums of products and small systems."""
        # Made at each use: an attribute would refer back to this device, whose memory would then
        # stay until the garbage collector finds the circle.
        return CPUSolves(self.ranks, self.pool, self.for_each_block)

    @contextmanager
    def session(self) -> Iterator[None]:
        """A context in which the threads run; each BLAS call in it uses one thread."""
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
        """Return `data` as it is; `InputError` for an array of a GPU."""
        if hasattr(data, "__cuda_array_interface__"):
            raise InputError(
                f"{type(data).__module__} array on a GPU: give device='cuda' to train there, or "
                "copy the array to the processor first"
            )
        return data

    def array(self, data: Any, dtype: Any) -> Array:
        """Return `data` as a contiguous array, copied only if it is not one."""
        return np.ascontiguousarray(data, dtype)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array with arbitrary contents."""
        return np.empty(shape, dtype)

    def samples(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of samples (n, ...), with arbitrary contents, in the storage."""
        return self.storage.allocate([shape], dtype)[0]

    def done_with(self, array: Any, rows: slice) -> None:
        """Let these rows of an array of samples leave memory."""
        self.storage.done_with(array, rows)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of zeros."""
        return np.zeros(shape, dtype)

    def numpy(self, array: Array) -> Array:
        """Return `array`, which is a NumPy array."""
        return array

    def scaled(self, out: Array, A: Array, factor: float) -> None:
        """``out = factor A``, the factor rounded to the type of A."""
        np.multiply(A, A.dtype.type(factor), out=out)

    def work_of_rows(self, tile: Tile, V: Array) -> Array:
        """Return three rows: the kernels take one sample after the other."""
        return tile.work.of(RowWork).rows.array((3, V.shape[1]), np.float64)

    # -- passes over samples ------------------------------------------------------------------

    def for_each_tile(
        self,
        n: int,
        widths: tuple[int, ...],
        dtype: Any,
        body: Callable[[Tile], None],
        multiplications: int | None = None,
        arrays: Sequence[Any] = (),
    ) -> None:
        """Call ``body(tile)`` for tiles of n samples, shared among the threads.

        For a mini-batch, `multiplications` are those of the forward pass of a sample. Then tiles
        are as equal as they can be, and there are at least two if each of them has enough work.
        `arrays` are the arrays of n rows that the body reads or writes.
        """
        rows = self.tile_rows(widths, dtype)
        if multiplications is not None and n:
            if self._tile_rows is not None:
                rows = even_size(n, self._tile_rows)
            else:
                worth_a_thread = int(n * multiplications / BATCH_TILE_MULTIPLICATIONS)
                n_tiles = min(max(2, math.ceil(n / BATCH_TILE_ROWS)), max(1, worth_a_thread))
                rows = math.ceil(n / n_tiles)
        with self.storage.stream(n, rows, arrays, self.n_threads) as around:
            for_each_tile(n, rows, around(body), self._threads, self._pool)

    def for_each_block(self, n: int, body: Callable[[slice], None]) -> None:
        """Call ``body(block)`` for blocks of n rows of a small matrix, shared among the threads."""
        for_each_tile(n, SOLVE_ROWS, lambda tile: body(tile.rows), self._threads, self._pool)

    def group_bytes(self, in_cache: int) -> int:
        """Return `in_cache`, the bytes of a work array for the images that a call takes."""
        return in_cache

    def for_each_item(self, items: Sequence[T], body: Callable[[T, Workspaces], None]) -> None:
        """Call ``body(item, work)`` for independent pieces of work, shared among the threads."""

        def of_tile(tile: Tile) -> None:
            body(items[tile.index], tile.work)

        for_each_tile(len(items), 1, of_tile, self._threads, self._pool)

    def sum_over_ranks(self, array: Array) -> None:
        """Add up a contiguous `array` over the ranks, in place."""
        self.ranks.sum(array)

    def same_on_all_ranks(self, W: Array) -> None:
        """Give all ranks each row of W from the rank that is responsible for it."""
        self.ranks.share_rows(W)

    def sum(self, shape: int | tuple[int, ...]) -> SampleSum:
        """Return an empty sum over samples, to which tiles add."""
        return SampleSum(shape, self.ranks)

    def largest(self, values: Sequence[float], at_least: float, otherwise: float) -> float:
        """Return the largest of all ranks' `values` if it exceeds `at_least`, else `otherwise`."""
        largest = np.array([max(values)])
        self.ranks.max(largest)
        return float(largest[0]) if largest[0] > at_least else otherwise

    # -- penalties ----------------------------------------------------------------------------

    def project(self, W: Array, penalty: Penalty) -> None:
        """Move W, in place, to the nearest values for which the penalty is finite."""
        if penalty.ridge is None:
            kernels.project(W, penalty)
