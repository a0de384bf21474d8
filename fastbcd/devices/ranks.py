"""Ranks are processes that share the samples of one run; sums go over all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastbcd.errors import InputError
from fastbcd.kernels.streams import write_line

# A rank with an error waits so many seconds for the others.
PATIENCE = 5.0
# MPICH's launcher ends a job at once and loses lines that it has not read yet, so a rank gives it
# so many seconds between its message and the end.
FORWARDING = 0.5
Array = NDArray[Any]
T = TypeVar("T")


def end_job(comm: Any, status: int, sentence: str) -> None:
    """Write `sentence` to standard error, then end all processes of `comm` with `status`."""
    write_line(sentence)
    time.sleep(FORWARDING)
    comm.Abort(status)


class Ranks(Protocol):
    """The operations among the processes of a run; all of them call the same methods in order."""

    rank: int
    """Number of this process, from 0."""
    size: int
    """Number of processes."""
    sharing_processors: int
    """Number of ranks, this one included, that may run on the processors of this one."""
    rank_on_this_machine: int
    """Number of this process among those of its machine, from 0."""

    def sum(self, array: Array) -> None:
        """Replace a contiguous `array` by the sum of those of all ranks."""

    def max(self, array: Array) -> None:
        """Replace a contiguous `array` by the elementwise maximum of those of all ranks."""

    def gather(self, value: T) -> list[T]:
        """Return the `value`, a small object, of each rank in their order, on all ranks."""

    def barrier(self, error: Exception | None) -> None:
        """Wait until all ranks are here; a rank with an `error` waits for `PATIENCE` seconds.

        Then it ends the job, because the others wait for it elsewhere, in a sum.
        """

    def rows(self, n: int, unit: int = 1) -> slice:
        """Return this rank's share of `n` consecutive rows, as even as whole units can be.

        A unit is `unit` rows. The shares of all ranks, in their order, are the n rows; some may be
        empty.
        """

    def share_rows(self, array: Array) -> None:
        """Copy each rank's `rows` of a contiguous `array` into the arrays of all others."""


def bounds(n: int, size: int, unit: int = 1) -> list[int]:
    """Return the row at which each of `size` ranks' shares begins, and then `n`.

    All begin at a multiple of `unit`; see `Ranks.rows`.
    """
    units = -(-n // unit)
    return [min(n, units * rank // size * unit) for rank in range(size + 1)]


class SingleProcess:
    """A single process: it has all samples, and exchanges nothing."""

    rank, size = 0, 1
    sharing_processors, rank_on_this_machine = 1, 0

    def sum(self, array: Array) -> None:
        """Do nothing: `array` is the sum."""

    def max(self, array: Array) -> None:
        """Do nothing: `array` is the maximum."""

    def gather(self, value: T) -> list[T]:
        """Return ``[value]``."""
        return [value]

    def barrier(self, error: Exception | None) -> None:
        """Do nothing, with or without an `error`: there are no others to wait for."""

    def rows(self, n: int, unit: int = 1) -> slice:
        """Return all `n` rows, whatever the `unit`."""
        return slice(0, n)

    def share_rows(self, array: Array) -> None:
        """Do nothing: all rows of `array` are here."""


SINGLE_PROCESS = SingleProcess()


class MPIRanks:
    """The processes of an MPI communicator; `get_ranks` makes one such object for each.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        Messages travel on duplicates of it, apart from those of other users.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        self._MPI, self.comm, self._barriers = MPI, comm.Dup(), comm.Dup()
        self.rank, self.size = self.comm.rank, self.comm.size
        neighbours = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.rank_on_this_machine = neighbours.rank
        # A launcher may have bound each rank to other processors.
        sets = neighbours.allgather(_processors())
        self.sharing_processors = sum(not sets[neighbours.rank].isdisjoint(other) for other in sets)
        neighbours.Free()

    def free(self) -> None:
        """Free the duplicates before the communicator itself is freed."""
        self.comm.Free()
        self._barriers.Free()

    def sum(self, array: Array) -> None:
        """Call ``MPI_Allreduce`` of `array`, in place."""
        self.comm.Allreduce(self._MPI.IN_PLACE, array, self._MPI.SUM)

    def max(self, array: Array) -> None:
        """Call ``MPI_Allreduce`` of `array` with the maximum, in place."""
        self.comm.Allreduce(self._MPI.IN_PLACE, array, self._MPI.MAX)

    def gather(self, value: T) -> list[T]:
        """Call ``MPI_Allgather`` of the pickled `value`."""
        return list(self.comm.allgather(value))

    def barrier(self, error: Exception | None) -> None:
        """Call ``MPI_Ibarrier``; with an `error`, abort the job if it does not complete in time."""
        request = self._barriers.Ibarrier()
        if error is None:
            request.Wait()
            return
        deadline = time.monotonic() + PATIENCE
        while not request.Test():
            if time.monotonic() > deadline:
                status = 2 if isinstance(error, InputError) else 1
                end_job(self.comm, status, f"rank {self.rank}: {error or type(error).__name__}")
            time.sleep(0.01)

    def rows(self, n: int, unit: int = 1) -> slice:
        """Return this rank's share of `n` rows, in whole units of `unit` rows but for the last."""
        return slice(*bounds(n, self.size, unit)[self.rank : self.rank + 2])

    def share_rows(self, array: Array) -> None:
        """Call ``MPI_Iallgatherv`` of rows of `array`, in place: all ranks get the same bits."""
        row = array[:1].size
        starts = [row * start for start in bounds(len(array), self.size)]
        counts = np.diff(starts)
        # MPICH's blocking call sends long messages in pieces, each after a handshake.
        self.comm.Iallgatherv(self._MPI.IN_PLACE, [array, (counts, starts[:-1])]).Wait()


def get_ranks(comm: Any) -> Ranks:
    """Return the ranks of a communicator, or a `SingleProcess` for None.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm or None
        It keeps its `MPIRanks`, so that all solvers together need only two duplicates of it.

    Raises
    ------
    InputError
        `comm` is not an intracommunicator of mpi4py, or mpi4py cannot be imported.
    """
    if comm is None:
        return SingleProcess()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: no MPI library was found
        raise InputError(
            f"comm: mpi4py cannot be used ({error}); pip install 'fastbcd[mpi]'"
        ) from None
    if not isinstance(comm, MPI.Intracomm) or comm == MPI.COMM_NULL:
        raise InputError(f"comm must be an mpi4py.MPI.Intracomm, such as COMM_WORLD: {comm!r}")
    kept: Any = comm.Get_attr(_key())
    if kept is None:
        kept = MPIRanks(comm)
        comm.Set_attr(_key(), kept)
    ranks: Ranks = kept
    return ranks


def _processors() -> frozenset[int]:
    """Return the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


@cache
def _key() -> int:
    """Return the key under which a communicator keeps its `MPIRanks`."""
    from mpi4py import MPI

    def free(comm: Any, key: int, ranks: MPIRanks) -> None:
        if not MPI.Is_finalized():
            ranks.free()

    return int(MPI.Comm.Create_keyval(delete_fn=free))


# Errors that other ranks raise with the same type; of any other they raise a RuntimeError.
KINDS: list[type[Exception]] = [InputError, FloatingPointError, MemoryError, OSError, RuntimeError]

ErrorReport = tuple[int, str]
"""Index in `KINDS`, and the message."""


def _report(error: BaseException) -> ErrorReport:
    """Describe an error to the other ranks."""
    kind = next((k for k in KINDS if isinstance(error, k)), None)
    if kind is None:
        return KINDS.index(RuntimeError), f"{type(error).__name__}: {error}"
    return KINDS.index(kind), str(error) or type(error).__name__


@contextmanager
def collective_errors(ranks: Ranks, apart: bool = False) -> Iterator[None]:
    """Raise an error of one rank in this context on all `ranks`, so that none waits forever.

    All raise the error of the first rank that has one. If the others wait in a sum for a failed
    rank, they cannot raise anything, and the job ends; see `Ranks.barrier`. With `apart`, ranks
    exchange nothing in the context, and a failed one waits as long as the others work.
    """
    own: Exception | None = None
    try:
        yield
    except Exception as error:
        if ranks.size == 1:
            raise
        own = error
    if not apart:
        ranks.barrier(own)
    reports = ranks.gather(None if own is None else _report(own))
    failed = [(rank, report) for rank, report in enumerate(reports) if report is not None]
    if not failed:
        return
    rank, (index, text) = failed[0]
    everywhere = len({report for _, report in failed}) == 1 and len(failed) == ranks.size
    raise KINDS[index](text if everywhere else f"rank {rank}: {text}") from own


def on_root(ranks: Ranks, action: Callable[[], T]) -> T:
    """Call `action` on rank 0 only; return its result, or raise its error, on all `ranks`.

    Use it for what must be done once, such as writing a file that all share. Results must be small.
    """
    if ranks.size == 1:
        return action()
    value: Any = None
    report: ErrorReport | None = None
    cause: BaseException | None = None
    if ranks.rank == 0:
        try:
            value = action()
        except BaseException as error:  # Ctrl-C, too, because the others wait here
            report, cause = _report(error), error
    value, report = ranks.gather((value, report))[0]
    if cause is not None and not isinstance(cause, Exception):
        raise cause
    if report is not None:
        raise KINDS[report[0]](report[1]) from cause
    return value
