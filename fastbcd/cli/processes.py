"""The processes that ``mpiexec`` started: who they are, and how a job ends where one fails."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from fastbcd.errors import InputError
from fastbcd.kernels.streams import write_line

# What launchers of MPICH, Open MPI and their relatives, and of Slurm, tell each process.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
# A rank that fails waits for so many seconds: the first rank may be about to say the same.
GRACE = 1.0


def world() -> Any:
    """The communicator of a job of several processes; None for a process alone.

    Raises
    ------
    InputError
        Several processes, and mpi4py is missing: they would all do the same work.
    """
    sizes = [os.environ[name] for name in SIZES if os.environ.get(name, "").isdecimal()]
    if all(int(size) < 2 for size in sizes):
        return None
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"started as one of {sizes[0]} processes, but mpi4py cannot be used ({error}); "
            "pip install 'fastbcd[mpi]'"
        ) from None
    if MPI.COMM_WORLD.size < 2:
        raise InputError(
            f"started as one of {sizes[0]} processes, but MPI knows one only: mpiexec is of "
            "another MPI than mpi4py; pip install 'fastbcd[mpi]' brings a pair that fits"
        )
    return MPI.COMM_WORLD


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Nothing is printed in the context: another rank prints the same."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def abort(comm: Any, status: int, sentence: str) -> NoReturn:
    """End all processes of `comm` with `status`, after `sentence`, once, on standard error."""
    if comm.rank > 0:
        time.sleep(GRACE)
    write_line(sentence)
    comm.Abort(status)
    time.sleep(GRACE)  # the launcher ends this process, too
    os._exit(status)
