"""What the solvers and layers ask of a device: arrays, products, solves, sums and launches.

There are three: the processor (`fastbcd.devices.cpu`), a GPU (`fastbcd.devices.cuda`), and a plain
NumPy one in the tests, which is slow and obvious and serves as their oracle.
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
        """Add what one `tile` contributes, in its turn: an array, or numbers for its elements."""

    def total(self) -> Array:
        """The sum over all samples, the same on all ranks; to be called once, after the pass."""


class Batches(Protocol):
    """What mini-batches ask for beside the rest."""

    @property
    def weight_rows(self) -> int:
        """Rows of W that one call updates, at most."""

    def resident(self, data: Any) -> Any:
        """Samples where batches take them from."""

    def rows_of(self, data: Any, index: Array) -> Array:
        """Some rows of samples, as a NumPy array."""

    def take(self, out: Array, data: Any, rows: Array | slice) -> Array:
        """``out = data[rows]``; returns them in whichever type is at hand."""

    def planned(
        self, cache: dict[Any, Any], batches: Sequence[Any], scalars: Sequence[T]
    ) -> Iterable[tuple[Any, T]]:
        """Samples and step scalars of each batch of a pass, as `run` takes them."""

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
        """``sweep(samples, scalars)``, or the launches of such a call that was recorded before.

        Parameters
        ----------
        cache : dict
            Keeps what was recorded.
        batch : Batch
            Memory that samples are read to.
        samples, scalars
            From `planned`, or of a batch by itself.
        kind : hashable or None
            Names all that the sweep depends on, beside `parts`, `scalars` and the contents of
            arrays: two batches of one kind, with the same parts and arrays, launch the same work.
            None: there is no such kind.
        parts : frozenset of str
            Names what this batch does beside what all do.
        arrays : nested lists and tuples
            The arrays it works on, which its caller may have replaced since the last time.
        sweep : callable
            Launches work and keeps no array that it made. It must not ask the device.
        """

    def count(self, total: Array, number: Any, n: int) -> None:
        """Add (number, n) to `total` (2,), an array of the processor."""

    # -- numbers that the device may keep to itself -------------------------------------------

    def scalar(self, value: float) -> Any:
        """A number that batches change, which the device can read in a launch."""

    def passes(self, first: bool) -> int:
        """Passes over a batch until its updates have their size, at most."""

    def settled(self, status: Any) -> bool:
        """Whether no other pass is needed, by what `fastbcd.kernels.settle_sizes` returned."""

    def is_positive(self, number: Any) -> bool:
        """``number > 0``; True where the device is not asked."""

    def renew_metric(self, metric: Any, S: Array) -> bool:
        """See `fastbcd.solvers.mini_batch.gram_metric.GramMetric.renew`."""


class Device(Protocol):
    """Executes block updates; the solvers do not know which one they have."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def kernels(self) -> Any:
        """Functions with the names and arguments of `fastbcd.kernels`, on arrays of the device."""

    @property
    def solves(self) -> Solves:
        """Sums of products and small systems."""

    @property
    def batches(self) -> Batches:
        """What mini-batches ask for."""

    @property
    def ranks(self) -> Ranks:
        """The processes that share the samples."""

    @property
    def storage(self) -> Storage:
        """Where arrays of samples are."""

    @property
    def pool(self) -> Pool:
        """Lends memory for the matrices of a solve."""

    @property
    def work(self) -> Workspaces:
        """Work arrays that all tiles share; those of a tile are `Tile.work`."""

    @property
    def n_threads(self) -> int | None:
        """Threads of the processor."""

    def session(self) -> AbstractContextManager[None]:
        """All work happens within one; errors of the device are raised when it ends, at last."""

    # -- arrays -------------------------------------------------------------------------------

    def as_input(self, data: Any) -> Any:
        """`data` as a caller gave them; `InputError` for an array of another device."""

    def array(self, data: Any, dtype: Any) -> Array:
        """`data` as a contiguous array of this device; not copied where it is one already."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array with arbitrary contents."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of zeros."""

    def copy(self, array: Array) -> Array:
        """A copy of `array`."""

    def numpy(self, array: Array) -> Any:
        """`array` as a NumPy array."""

    def blocks(self, array: Any) -> Iterator[slice]:
        """Slices of rows of an array of samples, to go through all of it in pieces."""

    def scaled(self, out: Array, A: Array, factor: Any) -> None:
        """``out = factor A``, the factor rounded to the type of A."""

    def work_of_rows(self, tile: Tile, V: Array) -> Array:
        """Work space for the kernels that go through V (m, k) row by row: three rows, float64."""

    # -- passes over samples ------------------------------------------------------------------

    def tile_rows(self, widths: tuple[int, ...], dtype: Any) -> int:
        """Samples in a tile of a network of such widths."""

    def for_each_tile(
        self,
        n: int,
        widths: tuple[int, ...],
        dtype: Any,
        body: Callable[[Tile], None],
        even: bool = False,
        arrays: Sequence[Any] = (),
    ) -> None:
        """Call ``body(tile)`` for tiles of n samples.

        With `even` the tiles are small and as equal as they can be: for a mini-batch. `arrays`
        are those of n rows that the body reads or writes.
        """

    def for_each_item(self, items: Sequence[T], body: Callable[[T, Workspaces], None]) -> None:
        """Call ``body(item, work)`` for independent pieces of work."""

    # -- sums ---------------------------------------------------------------------------------

    def sum(self, shape: int | tuple[int, ...]) -> SampleSum:
        """A sum over samples, to which tiles add."""

    def largest(self, values: Sequence[Any], at_least: float, otherwise: float) -> Any:
        """The largest of `values` (>= 0) of all ranks where it exceeds `at_least`."""

    def sum_over_ranks(self, array: Array) -> None:
        """Add up a contiguous `array` over the ranks, in place."""

    def same_on_all_ranks(self, W: Array) -> None:
        """W of the rank that answers for it, or for its rows, on all of them."""

    # -- penalties ----------------------------------------------------------------------------

    def penalty_sum(self, penalty: Penalty, W: Array, *sample_weight: Array) -> Any:
        """``sum_i c_i r(W_i)``, without a pass over W where r is 0."""

    def project(self, W: Array, penalty: Penalty) -> None:
        """W to the nearest values for which the penalty is finite, in place."""
