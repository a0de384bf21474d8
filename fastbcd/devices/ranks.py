"""Processes that share the samples of one run: each holds some of them, and sums go over all."""

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

# Seconds that a rank which failed waits for the others.
PATIENCE = 5.0
Array = NDArray[Any]
T = TypeVar("T")


class Ranks(Protocol):
    """What a run needs of the processes it is spread over; all of them call the same methods."""

    rank: int
    """Of this process, from 0."""
    size: int
    """How many there are."""
    sharing_processors: int
    """How many of them may run on processors of this one, itself included."""
    rank_on_this_machine: int
    """Of this process among those of its machine."""

    def sum(self, array: Array) -> None:
        """A contiguous `array` becomes the sum of those of all ranks, in place."""

    def max(self, array: Array) -> None:
        """A contiguous `array` becomes the largest of those of all ranks, by elements, in place."""

    def gather(self, value: T) -> list[T]:
        """A small object of each rank, in their order, on all of them."""

    def barrier(self, error: Exception | None) -> None:
        """Wait until all ranks are here; one that comes with an `error` does not wait for long.

        After `PATIENCE` seconds it ends all of them: they wait for it elsewhere, in a sum.
        """

    def rows(self, n: int, unit: int = 1) -> slice:
        """The share of `n` rows: consecutive, as even as whole units of `unit` rows can be.

        Shares of all ranks, in their order, are the n rows; some may be empty.
        """

    def share_rows(self, array: Array) -> None:
        """Each rank's `rows` of a contiguous `array` go to all others, in place."""


def bounds(n: int, size: int, unit: int = 1) -> list[int]:
    """Where the shares of `size` ranks begin, and the last one ends; see `Ranks.rows`.

    `n` rows, in whole units of `unit` rows but for the last.
    """
    units = -(-n // unit)
    return [min(n, units * rank // size * unit) for rank in range(size + 1)]


class SingleProcess:
    """One process: it has all samples, and nothing is to be exchanged."""

    rank, size = 0, 1
    sharing_processors, rank_on_this_machine = 1, 0

    def sum(self, array: Array) -> None:
        """Nothing: `array` is the sum."""

    def max(self, array: Array) -> None:
        """Nothing: `array` is the largest."""

    def gather(self, value: T) -> list[T]:
        """``[value]``."""
        return [value]

    def barrier(self, error: Exception | None) -> None:
        """Nothing: there is nobody to wait for, `error` or not."""

    def rows(self, n: int, unit: int = 1) -> slice:
        """All `n` rows, whatever the `unit`."""
        return slice(0, n)

    def share_rows(self, array: Array) -> None:
        """Nothing: all rows of `array` are here."""


SINGLE_PROCESS = SingleProcess()


class MPIRanks:
    """The processes of an MPI communicator; `get_ranks` makes one for each.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        Messages of ours travel on duplicates of it, so that they meet no others.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        self._MPI, self.comm, self._meetings = MPI, comm.Dup(), comm.Dup()
        self.rank, self.size = self.comm.rank, self.comm.size
        neighbours = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.rank_on_this_machine = neighbours.rank
        # A launcher may have given each rank processors of its own.
        sets = neighbours.allgather(_processors())
        self.sharing_processors = sum(not sets[neighbours.rank].isdisjoint(other) for other in sets)
        neighbours.Free()

    def free(self) -> None:
        """Give back what was made for the communicator, before it goes."""
        self.comm.Free()
        self._meetings.Free()

    def sum(self, array: Array) -> None:
        """``MPI_Allreduce`` of `array`, in place."""
        self.comm.Allreduce(self._MPI.IN_PLACE, array, self._MPI.SUM)

    def max(self, array: Array) -> None:
        """``MPI_Allreduce`` of `array` with the maximum, in place."""
        self.comm.Allreduce(self._MPI.IN_PLACE, array, self._MPI.MAX)

    def gather(self, value: T) -> list[T]:
        """``MPI_Allgather`` of `value`, pickled."""
        return list(self.comm.allgather(value))

    def barrier(self, error: Exception | None) -> None:
        """``MPI_Ibarrier``; with an `error` the job is aborted where it does not complete."""
        request = self._meetings.Ibarrier()
        if error is None:
            request.Wait()
            return
        deadline = time.monotonic() + PATIENCE
        while not request.Test():
            if time.monotonic() > deadline:
                write_line(f"rank {self.rank}: {error or type(error).__name__}")
                self.comm.Abort(2 if isinstance(error, InputError) else 1)
            time.sleep(0.01)

    def rows(self, n: int, unit: int = 1) -> slice:
        """The share of this rank of `n` rows, in whole units of `unit` rows but for the last."""
        return slice(*bounds(n, self.size, unit)[self.rank : self.rank + 2])

    def share_rows(self, array: Array) -> None:
        """``MPI_Iallgatherv`` of rows of `array`, in place: on all ranks the same bits."""
        row = array[:1].size
        starts = [row * start for start in bounds(len(array), self.size)]
        counts = np.diff(starts)
        # MPICH's blocking one sends long messages in pieces, each after a handshake.
        self.comm.Iallgatherv(self._MPI.IN_PLACE, [array, (counts, starts[:-1])]).Wait()


def get_ranks(comm: Any) -> Ranks:
    """Of a communicator; None is one process.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm or None
        It keeps what is made for it, so that any number of solvers take two duplicates of it.

    Raises
    ------
    InputError
        Not an intracommunicator of mpi4py.
    """
    if comm is None:
        return SingleProcess()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter where no MPI library is found
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
    """Those that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


@cache
def _key() -> int:
    """Under which a communicator keeps its `MPIRanks`."""
    from mpi4py import MPI

    def free(comm: Any, key: int, ranks: MPIRanks) -> None:
        if not MPI.Is_finalized():
            ranks.free()

    return int(MPI.Comm.Create_keyval(delete_fn=free))


# What a rank may report to the others; anything else arrives there as a RuntimeError.
KINDS: tuple[type[Exception], ...] = (
    *(InputError, FloatingPointError, MemoryError, OSError, RuntimeError),
)


Told = tuple[int, str]


def _told(error: BaseException) -> Told:
    """What other ranks hear of an error."""
    kind = next((k for k in KINDS if isinstance(error, k)), None)
    if kind is None:
        return KINDS.index(RuntimeError), f"{type(error).__name__}: {error}"
    return KINDS.index(kind), str(error) or type(error).__name__


@contextmanager
def collective_errors(ranks: Ranks, apart: bool = False) -> Iterator[None]:
    """What any rank raises in this context is raised on all, so that none waits for it forever.

    They all raise the error of the first rank that has one. Where the others wait in a sum for a
    rank that failed, nothing can be raised there, and the job ends; see `Ranks.barrier`. With
    `apart` ranks exchange nothing in the context, and one that failed waits as long as the
    others work.
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
    reports = ranks.gather(None if own is None else _told(own))
    failed = [(rank, report) for rank, report in enumerate(reports) if report is not None]
    if not failed:
        return
    rank, (index, text) = failed[0]
    everywhere = len({report for _, report in failed}) == 1 and len(failed) == ranks.size
    raise KINDS[index](text if everywhere else f"rank {rank}: {text}") from own


def on_root(ranks: Ranks, action: Callable[[], T]) -> T:
    """What `action` returns, or raises, on the first rank: the others only hear of it.

    For what is to be done once: files that all ranks share, say. The result must be small.
    """
    if ranks.size == 1:
        return action()
    value: Any = None
    told: Told | None = None
    cause: BaseException | None = None
    if ranks.rank == 0:
        try:
            value = action()
        except BaseException as error:  # Ctrl-C, too: the others wait here
            told, cause = _told(error), error
    value, told = ranks.gather((value, told))[0]
    if cause is not None and not isinstance(cause, Exception):
        raise cause
    if told is not None:
        raise KINDS[told[0]](told[1]) from cause
    return value
