"""The CPU device: tiles of samples on threads of our own, serial compiled kernels on each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastbcd import kernels
from fastbcd.devices.gram_metric import GramMetric
from fastbcd.devices.layer import Layer
from fastbcd.devices.nonlinear_state_solve import NonlinearStateSolve
from fastbcd.devices.normal_equations import CrossProduct, NormalEquations
from fastbcd.devices.output_state import update_output_state
from fastbcd.devices.ranks import Ranks, SingleProcess
from fastbcd.devices.rms_scaling import RMSScaling
from fastbcd.devices.state_solve import StateSolve
from fastbcd.devices.storage.arrays import Memory, Storage
from fastbcd.devices.sums import SampleSum
from fastbcd.devices.threads import resolve_threads, serial_blas, start_of_thread
from fastbcd.devices.tiles import Scratch, Tile, even_size, for_each_tile
from fastbcd.errors import InputError
from fastbcd.kernels import Formula, Loss, Penalty
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
# Types of elements that `gather` compiles for; no half precision, for instance.
COMPILED = frozenset(np.dtype(code) for code in "?bBhHiIlLqQfd")


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
        self._scratches = [Scratch() for _ in range(self.n_threads)]
        self._solve_scratch = Scratch()
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

    def samples(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of samples (n, ...), with arbitrary contents, where such arrays are kept."""
        return self.storage.allocate([shape], dtype)[0]

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

    # -- samples of mini-batches --------------------------------------------------------------

    weight_rows = 256
    """Rows of W that one thread updates at a time, at most."""

    def resident(self, data: Any) -> Any:
        """Samples where batches take them from: as they are, memory-mapped files included."""
        return data

    def rows_of(self, data: Any, index: Array) -> Array:
        """Some rows of samples, as a NumPy array."""
        return data[index]

    def planned(
        self, cache: dict[Any, Any], batches: Sequence[Any], numbers: Sequence[T]
    ) -> Iterable[tuple[Any, T]]:
        """Samples and numbers of each batch of a pass, as `run_batch` takes them."""
        return zip(batches, numbers, strict=True)

    def take(self, out: Array, data: Any, rows: Array | slice) -> Array:
        """``out = data[rows]``; returns them in whichever type is at hand."""
        if isinstance(rows, slice) or data.dtype not in COMPILED:
            out[:] = data[rows]
        else:
            kernels.gather(out, data, rows)  # without the interpreter lock or a copy in between
        return out

    def scaled(self, out: Array, A: Array, factor: float) -> None:
        """``out = factor A``."""
        np.multiply(A, A.dtype.type(factor), out=out)

    def run_batch(
        self,
        cache: dict[Any, Any],
        batch: Any,
        samples: Any,
        numbers: Any,
        kind: Any,
        parts: frozenset[str],
        arrays: Any,
        sweep: Callable[[Any, Any], None],
    ) -> None:
        """Call ``sweep(samples, numbers)``: the sweep's tiles read their samples."""
        sweep(samples, numbers)

    def count(self, total: Array, number: float, n: int) -> None:
        """Add (number, n) to `total` (2,), an array of the processor."""
        total += number, n

    def outputs(self, network: Any, X: Any, dtype: Any) -> Array:
        """Outputs of `network`, a `fastbcd.models.network.Network`, for samples X."""
        return network.forward(X, self.n_threads)

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
            for_each_tile(n, rows, around(body), self._scratches, self._pool)

    def tile_rows(self, widths: tuple[int, ...], dtype: Any) -> int:
        """Samples in a tile of a network of such widths."""
        if self._tile_rows is not None:
            return self._tile_rows
        row_bytes = max(widths) * np.dtype(dtype).itemsize
        return max(MIN_TILE_ROWS, TILE_BYTES // row_bytes)

    def for_each_block(self, n: int, body: Callable[[slice], None]) -> None:
        """Call ``body(block)`` for blocks of n rows of a small matrix, shared among the threads."""
        for_each_tile(n, SOLVE_ROWS, lambda tile: body(tile.rows), self._scratches, self._pool)

    def for_each_item(self, items: Sequence[T], body: Callable[[T, Scratch], None]) -> None:
        """Call ``body(item, scratch)`` for independent pieces of work, shared among the threads."""
        for_each_tile(
            *(len(items), 1, lambda tile: body(items[tile.index], tile.scratch)),
            *(self._scratches, self._pool),
        )

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

    # -- layers and their solves --------------------------------------------------------------

    def rms_scaling(self, *arguments: Any) -> RMSScaling:
        """Sizes of a mini-batch's displacements; arguments as for `RMSScaling`, less the device."""
        return RMSScaling(self, *arguments)

    def gram_metric(self, *arguments: Any, **options: Any) -> GramMetric:
        """The metric of a mini-batch W-block; arguments as for `GramMetric`."""
        return GramMetric(*arguments, **options)

    def layer(self, W: Array) -> Layer:
        """Weights and bias of a layer, ready for products."""
        return Layer(W)

    def state_solve(self, W_next: Array, penalty: Penalty, kappa: float, rho: float) -> StateSolve:
        """The V-block below the layer of W_next, ready for all samples."""
        return StateSolve(
            Layer(W_next), penalty, kappa, rho, self.for_each_block, self._solve_scratch
        )

    def nonlinear_state_solve(
        self, solve: StateSolve, activation: Formula, curvature: float, gamma: float, alpha: float
    ) -> NonlinearStateSolve:
        """Algorithm 1's V-block below a layer with that activation, from its model's solve."""
        return NonlinearStateSolve(solve, activation, curvature, gamma, alpha)

    def normal_equations(self, W: Array, own_gram: bool) -> NormalEquations:
        """Normal equations of the W-block; `own_gram` where they may keep their Gram matrix."""
        return NormalEquations(
            *(len(W), W.shape[1], self.for_each_block, self._solve_scratch, own_gram, self.ranks)
        )

    def cross_product(self, W: Array) -> CrossProduct:
        """An empty sum of cross products, of the shape of W."""
        return CrossProduct(len(W), W.shape[1], self.ranks)

    # -- products and blocks on one tile ------------------------------------------------------

    def forward(self, tile: Tile, layer: Layer, V: Array, name: str = "B") -> Array:
        """``V^ W^T``, in the tile's work array `name`."""
        B = tile.scratch.array(name, (len(V), len(layer.bias)), V.dtype)
        kernels.affine(B, V, layer.W, layer.bias)
        return B

    def update_output_state(
        self,
        tile: Tile,
        V: Array,
        loss: Loss,
        penalty: Penalty,
        linearised: bool,
        U: Array,
        below: Array | None,
        Y: Array,
        gamma: float,
        alpha: float,
        report: Array | None,
        *sample_weight: Array,
    ) -> None:
        """V_L-block; see `fastbcd.devices.output_state`."""
        work = tile.scratch.array("row", (3, V.shape[1]), np.float64)
        update_output_state(
            *(kernels, work, V, loss, penalty, linearised, U, below, Y, gamma, alpha, report),
            *sample_weight,
        )

    def output_subgradient(
        self,
        tile: Tile,
        loss: Loss,
        penalty: Penalty,
        V: Array,
        G: Array,
        Y: Array,
        *sample_weight: Array,
    ) -> float:
        """``|G + d(loss + s)(V)|^2``; see `fastbcd.kernels.output_subgradient`."""
        work = tile.scratch.array("row", (3, V.shape[1]), np.float64)
        return kernels.output_subgradient(loss, penalty, V, G, Y, work, *sample_weight)

    # -- penalties ----------------------------------------------------------------------------

    def penalty_sum(self, penalty: Penalty, W: Array, *sample_weight: Array) -> float:
        """``r(W)``, without passing over W where r is 0."""
        return 0.0 if penalty.ridge == 0.0 else kernels.penalty_sum(penalty, W, *sample_weight)

    def project(self, W: Array, penalty: Penalty) -> None:
        """W to the nearest values for which the penalty is finite, in place."""
        if penalty.ridge is None:
            kernels.project(W, penalty)
