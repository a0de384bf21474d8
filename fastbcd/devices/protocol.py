"""The interface of a device for solvers and layers: arrays, products, solves, sums and passes.

There are three devices: the processor (`fastbcd.devices.cpu`), a GPU (`fastbcd.devices.cuda`), and
one of plain NumPy in the tests, which is slow and obvious and is the oracle of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from fastbcd.devices.ranks import Ranks
from fastbcd.devices.solves import Solves
from fastbcd.devices.storage.arrays import Storage
from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Pool, Workspaces
from fastbcd.kernels import Penalty

T = TypeVar("T")
Array = Any
"""An array of the device, or of its storage."""


class SampleSum(Protocol):
    """A float64 array, summed over tiles of samples and over ranks."""

    def add(self, tile: Tile, part: Any) -> None:
        """Add the part of one `tile`, in its turn: an array, or a number for each element."""

    def total(self) -> Array:
        """Return the sum over the samples of all ranks; call it once, after the pass."""


class Batches(Protocol):
    """The methods of a device that only mini-batches need."""

    @property
    def kernels(self) -> Any:
        """The `Device.kernels` that multiply states and weights of a batch; they may round."""

    weight_rows: int
    """The largest number of rows of W that one call updates."""

    def resident(self, data: Any) -> Any:
        """Return samples at the place from which batches read them."""

    def rows_of(self, data: Any, index: Array) -> Array:
        """Return some rows of samples as a NumPy array."""

    def take(self, out: Array, data: Any, rows: Array | slice) -> Array:
        """``out = data[rows]``; returns the rows, of the dtype of `data` or of `out`."""

    def planned(
        self, cache: dict[Any, Any], batches: Sequence[Any], scalars: Sequence[T]
    ) -> Iterable[tuple[Any, T]]:
        """Yield samples and step scalars of each batch of a pass, as `run` takes them."""

    def run(
        self,
        cache: dict[Any, Any],
        batch: Any,
        samples: Any,
        scalars: Any,
        kind: Any,
        parts: frozenset[str],
        arrays: Any,
        sweep: Callable[[Any, Any], None],
    ) -> None:
        """Call ``sweep(samples, scalars)``, or repeat the launches of an equal call.

        Parameters
        ----------
        cache : dict
            Keeps recorded launches.
        batch : Batch
            Memory that samples are read to.
        samples, scalars
            From `planned`, or of a single batch.
        kind : hashable or None
            All that the sweep depends on besides `parts`, `scalars` and the contents of arrays. Two
            batches of one kind, with the same parts and arrays, launch the same work. None: this
            batch is like no other.
        parts : frozenset of str
            Names of the work that this batch does and others do not.
        arrays : nested lists and tuples
            The arrays of the sweep, which its caller may have replaced since the last call.
        sweep : callable
            It launches work, keeps no array that it made, and reads no result from the device.
        """

    def count(self, total: Array, number: Any, n: int) -> None:
        """Add (number, n) to `total` (2,), an array of the processor."""

    # -- numbers that may stay on the device --------------------------------------------------

    def scalar(self, value: float) -> Any:
        """Return a number that batches change, in a form that launches can read."""

    def passes(self, first: bool) -> int:
        """Return the largest number of passes over a batch; `first` if it is the first batch."""

    def settled(self, status: Any) -> bool:
        """Return whether `status`, from `fastbcd.kernels.settle_sizes`, asks for no other pass."""

    def is_positive(self, number: Any) -> bool:
        """Return ``number > 0``, or True if that would mean a wait for the device."""

    def renew_metric(self, metric: Any, M: Array | None) -> bool:
        """See `fastbcd.solvers.mini_batch.gram_metric.GramMetric.renew`; M is the momentum."""


class Device(Protocol):
    """A device runs block updates; the solvers do not know which one they have."""

    name: str
    """The name of the device for users."""
    kernels: Any
    """Functions with the names and arguments of `fastbcd.kernels`, on arrays of the device."""
    ranks: Ranks
    """The processes that share the samples."""
    storage: Storage
    """The storage of arrays of samples."""
    pool: Pool
    """The pool that lends memory for the matrices of a solve."""
    work: Workspaces
    """Work arrays that all tiles share; those of a tile are `Tile.work`."""
    n_threads: int | None
    """The number of threads of the processor."""

    @property
    def solves(self) -> Solves:
        """Sums of products and small systems."""

    @property
    def batches(self) -> Batches:
        """The methods for mini-batches."""

    def session(self) -> AbstractContextManager[None]:
        """Return a context for all work; its end raises errors of the device, if not before."""

    # -- arrays -------------------------------------------------------------------------------

    def as_input(self, data: Any) -> Any:
        """Return `data` of a caller, which may be on this device; `InputError` if on another."""

    def array(self, data: Any, dtype: Any) -> Array:
        """Return `data` as a contiguous array of this device, copied only if it is not one."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array with arbitrary contents."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of zeros."""

    def copy(self, array: Array) -> Array:
        """Return a copy of `array`."""

    def numpy(self, array: Array) -> Any:
        """Return `array` as a NumPy array."""

    def blocks(self, array: Any) -> Iterator[slice]:
        """Yield slices that cover the rows of an array of samples."""

    def scaled(self, out: Array, A: Array, factor: Any) -> None:
        """``out = factor A``, the factor rounded to the type of A."""

    def work_of_rows(self, tile: Tile, V: Array) -> Array:
        """Return work space for kernels that go through V (m, k) row by row: three float64 rows."""

    # -- passes over samples ------------------------------------------------------------------

    def tile_rows(self, widths: tuple[int, ...], dtype: Any) -> int:
        """Return the number of samples in a tile of a network of such widths."""

    def for_each_tile(
        self,
        n: int,
        widths: tuple[int, ...],
        dtype: Any,
        body: Callable[[Tile], None],
        multiplications: int | None = None,
        arrays: Sequence[Any] = (),
    ) -> None:
        """Call ``body(tile)`` for tiles of n samples.

        For a mini-batch, `multiplications` are those of the forward pass of a sample; then tiles
        are small and as equal as they can be. `arrays` are the arrays of n rows that the body reads
        or writes.
        """

    def group_bytes(self, in_cache: int) -> int:
        """Return the bytes of a work array for the images that one call takes of a tile.

        On the processor it is `in_cache`, with which the array stays in cache.
        """

    def for_each_item(self, items: Sequence[T], body: Callable[[T, Workspaces], None]) -> None:
        """Call ``body(item, work)`` for independent pieces of work."""

    # -- sums ---------------------------------------------------------------------------------

    def sum(self, shape: int | tuple[int, ...]) -> SampleSum:
        """Return an empty sum over samples, to which tiles add."""

    def largest(self, values: Sequence[Any], at_least: float, otherwise: float) -> Any:
        """Return the largest of `values` of all ranks if it exceeds `at_least`, else `otherwise`.

        The values and `at_least` are not negative.
        """

    def sum_over_ranks(self, array: Array) -> None:
        """Add up a contiguous `array` over the ranks, in place."""

    def same_on_all_ranks(self, W: Array) -> None:
        """Give all ranks the W, or the rows of W, of the rank that is responsible for them."""

    # -- penalties ----------------------------------------------------------------------------

    def penalty_sum(self, penalty: Penalty, W: Array, *sample_weight: Array) -> Any:
        """Return ``sum_i c_i r(W_i)`` over rows W_i, without a pass over W if r is 0."""

    def project(self, W: Array, penalty: Penalty) -> None:
        """Move W, in place, to the nearest values for which the penalty is finite."""
