"""The CUDA device: all samples on one GPU, fused kernels and cuBLAS on one stream."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from fastbcd import kernels as cpu_kernels
from fastbcd.devices.cuda.batches import CUDABatches
from fastbcd.devices.cuda.convolution import GROUP_BYTES
from fastbcd.devices.cuda.library import INSTALL, Library
from fastbcd.devices.cuda.resident import Resident
from fastbcd.devices.cuda.solves import CUDASolves
from fastbcd.devices.tiled import RowWork, TiledDevice
from fastbcd.devices.tiles import even_size
from fastbcd.devices.workspace import Pool, Workspaces
from fastbcd.errors import InputError
from fastbcd.kernels import Penalty

T = TypeVar("T")
# A tile of the widest layer has at most this many bytes; a pass has a few work arrays of this size.
TILE_BYTES = 2**30
MIN_TILE_ROWS = 4096


@dataclass
class Tile:
    """Rows ``start:stop`` of all sample arrays, like `fastbcd.devices.tiles.Tile`."""

    index: int
    rows: slice
    work: Workspaces

    def wait_for_turn(self) -> None:
        """Do nothing: tiles follow one another on the stream."""


class SampleSum:
    """A float64 array of `shape` on the GPU, summed over tiles and over ranks."""

    def __init__(self, device: CUDA, shape: int | tuple[int, ...]) -> None:
        self._device = device
        self._sum = device.zeros((shape,) if isinstance(shape, int) else shape, np.float64)

    def add(self, tile: Any, part: Any) -> None:
        """Add the part of one `tile`: an array, or a number for each element."""
        if isinstance(part, tuple):
            for k, number in enumerate(part):
                self._sum[k] += number
        else:
            self._sum += part

    def total(self) -> Any:
        """Return the sum over the samples of all ranks, on the GPU; call it once after the pass."""
        self._device.sum_over_ranks(self._sum)
        return self._sum


class CUDA(TiledDevice):
    """Runs block updates on an NVIDIA GPU.

    The whole state is on the GPU. A tile has all samples, or as many as keep work arrays below a
    few GiB. Kernels, cuBLAS and cuSOLVER share one stream. Within a session nothing waits for the
    GPU. At the end of the outermost session the host reads one flag, which is raised if a number
    was not finite.

    Parameters
    ----------
    n_threads : int, optional
        Number of threads of the processor, which makes predictions.
    tile_rows : int, optional
        Number of samples in a tile.
    ranks : Ranks, optional
        The processes that share the samples, each with its own GPU; NCCL adds up their sums.
    precision : {"float32", "tf32", "bf16"}
        Precision of float32 products; Gram matrices are always computed in true float32.

    Raises
    ------
    InputError
        A package, the driver or the GPU is missing; the processor does not take its place.
    """

    name = "cuda"
    tile_bytes, min_tile_rows = TILE_BYTES, MIN_TILE_ROWS

    def _start(self) -> None:
        self.library = self._library()
        try:
            from fastbcd.devices.cuda.algebra import Kernels
        except ImportError as problem:
            raise InputError(f"device: cuda needs numba-cuda ({problem}): {INSTALL}") from problem
        self.work, self.pool = Workspaces(self.library.empty), Pool(self.library.empty)
        self.failures = self.library.zeros((1,), np.int32)
        self.kernels: Any = Kernels(self.library, self.work, self.failures)
        self.storage = Resident(self.library)
        self.group = self.library.group(self.ranks) if self.ranks.size > 1 else None
        # They know this device by a weak reference: in a circle of references the memory of the GPU
        # would stay until the garbage collector finds it.
        own: Any = weakref.proxy(self)
        self.solves = CUDASolves(own, self.library, self.failures, self.precision)
        self.batches = CUDABatches(own, self.library, self.group is not None, self.failures)
        self._lock, self._depth = threading.RLock(), 0

    def _library(self) -> Any:
        return Library(self.precision, self.ranks)

    @contextmanager
    def session(self) -> Iterator[None]:
        """A context in which all work runs on one stream.

        At the end of the outermost session the host waits once. `FloatingPointError` if a system or
        a size was not finite.
        """
        from fastbcd.kernels.cuda import launching

        with self._lock:
            if self._depth:
                yield
                return
            self._depth += 1
            try:
                with self.library.session() as stream, launching(stream, self.library.empty):
                    yield
                    self.batches.fetch_counts()
                    if int(self.library.host(self.failures)[0]):
                        self.failures[...] = 0
                        raise FloatingPointError(
                            "states or weights are not finite any more; scale the inputs, use a "
                            "smaller step_size where there is one, or float64"
                        )
            finally:
                self.batches.forget_counts()
                self._depth -= 1

    # -- arrays -------------------------------------------------------------------------------

    def as_input(self, data: Any) -> Any:
        """Return an array of the GPU, of any library, as one of this device; else `data`."""
        return self.library.as_input(data)

    def array(self, data: Any, dtype: Any) -> Any:
        """Return `data` as a contiguous array of this device, copied only if it is not one."""
        return self.library.array(data, dtype)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array with arbitrary contents."""
        return self.library.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array of zeros."""
        return self.library.zeros(shape, dtype)

    def numpy(self, array: Any) -> Any:
        """Return `array` as a NumPy array."""
        return self.library.host(array)

    def scaled(self, out: Any, A: Any, factor: Any) -> None:
        """``out = factor A``; factor is a number, or an element on the GPU.

        Both may be views of images.
        """
        on_gpu = hasattr(factor, "shape") and hasattr(factor, "astype")
        factor = factor.astype(A.dtype).reshape(1) if on_gpu else A.dtype.type(factor)
        if A.ndim > 2:
            out[...] = factor * A
            return
        self.kernels.scaled(out, A, factor)

    def work_of_rows(self, tile: Any, V: Any) -> Any:
        """Return three rows for each sample: the kernels take all samples at once."""
        return tile.work.of(RowWork).rows.array((3, V.shape[1], len(V)), np.float64)

    # -- ranks --------------------------------------------------------------------------------

    def sum_over_ranks(self, array: Any) -> None:
        """Add up `array` over the ranks, in place."""
        if self.group is not None:
            self.library.sum_over(self.group, array)

    def same_on_all_ranks(self, W: Any) -> None:
        """Give all ranks the W of the first one; each has solved the same system on its GPU."""
        if self.group is not None:
            self.library.from_first(self.group, W)

    def sum(self, shape: int | tuple[int, ...]) -> SampleSum:
        """Return an empty sum over samples, to which tiles add."""
        return SampleSum(self, shape)

    def largest(self, values: Sequence[Any], at_least: float, otherwise: float) -> Any:
        """Return (1,) the largest of `values` if it exceeds `at_least`, else `otherwise`."""
        largest = self.zeros((1,), np.float64)
        for value in values:
            largest = self.library.maximum(largest, value)
        if self.group is not None:
            self.library.max_over(self.group, largest)
        return self.library.where(largest > at_least, largest, otherwise)

    # -- passes over samples ------------------------------------------------------------------

    def for_each_tile(
        self,
        n: int,
        widths: tuple[int, ...],
        dtype: Any,
        body: Callable[[Any], None],
        multiplications: int | None = None,
        arrays: Sequence[Any] = (),
    ) -> None:
        """Call ``body(tile)`` for tiles of n samples, one after the other."""
        rows = self.tile_rows(widths, dtype)
        rows = even_size(n, rows) if multiplications is not None and n else rows
        for index, start in enumerate(range(0, n, rows)):
            body(Tile(index, slice(start, min(n, start + rows)), self.work))

    def group_bytes(self, in_cache: int) -> int:
        """Return the bytes of a work array for the images that a call takes: more than a cache."""
        return GROUP_BYTES

    def for_each_item(self, items: Sequence[T], body: Callable[[T, Any], None]) -> None:
        """Call ``body(item, work)`` for independent pieces of work, one after the other."""
        for item in items:
            body(item, self.work)

    # -- penalties ----------------------------------------------------------------------------

    def project(self, W: Any, penalty: Penalty) -> None:
        """Move W, on GPU or processor, to the nearest values for which the penalty is finite."""
        if penalty.ridge is None:
            of = cpu_kernels if isinstance(W, np.ndarray) else self.kernels
            of.project(W, penalty)
