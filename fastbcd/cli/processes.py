"""The processes that ``mpiexec`` started, and how a job ends if one of them fails."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from fastbcd.devices.ranks import end_job
from fastbcd.errors import InputError

# Variables in which launchers (of MPICH, Open MPI, MVAPICH, Slurm) tell the number of processes.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
# A rank that fails waits for so many seconds, because the first rank may report the same error.
GRACE = 1.0


def world() -> Any:
    """The communicator of a job of several processes; None for a single process.

    Raises
    ------
    InputError
        There are several processes but no mpi4py, so all of them would do the same work.
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
            f"started as one of {sizes[0]} processes, but MPI knows one only: mpiexec belongs to "
            "another MPI than mpi4py; pip install 'fastbcd[mpi]' brings a pair that fits"
        )
    return MPI.COMM_WORLD


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Print nothing in the context, because another rank prints the same."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def abort(comm: Any, status: int, sentence: str) -> NoReturn:
    """Write `sentence` to standard error, then end all processes of `comm` with `status`."""
    if comm.rank > 0:
        time.sleep(GRACE)
    end_job(comm, status, sentence)
    time.sleep(GRACE)  # the launcher ends this process as well
    os._exit(status)
