"""Running programs on several MPI ranks in tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import environment

HERE = Path(__file__).parent


def mpiexec():
    """The launcher beside this Python, or the machine's; skips where there is no MPI."""
    pytest.importorskip("mpi4py", reason="mpi4py is not installed: pip install 'fastbcd[mpi]'")
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        pytest.skip("no mpiexec: pip install 'fastbcd[mpi]'")
    return found


def start_ranks(n_ranks, *arguments, **more):
    """The process of ``mpiexec -n N_RANKS python ARGUMENTS``."""
    env = environment() | {"PYTHONPATH": os.pathsep.join([environment()["PYTHONPATH"], str(HERE)])}
    # More ranks than cores: one that waits for another in MPICH sleeps, and does not take its core.
    env |= {"MPIR_CVAR_ENABLE_HEAVY_YIELD": "1"}
    return subprocess.Popen(
        [mpiexec(), "-n", str(n_ranks), sys.executable, *map(str, arguments)],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **more,
    )


def run_ranks(n_ranks, *arguments, status=0, timeout=120, **more):
    """The same until its end, within `timeout` seconds; its standard output and error.

    `status` is the one that the launcher returns. "any error" stands for every one but 0: where a
    rank ends the job, the launcher kills the others, and returns the status of either.
    """
    process = start_ranks(n_ranks, *arguments, **more)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{n_ranks} ranks hang: {arguments}\n{out}\n{err}") from None
    ended = process.returncode
    as_expected = ended != 0 if status == "any error" else ended == status
    assert as_expected, f"status {ended}\n{out}\n{err}"
    return out, err


def program(text):
    """Arguments that run `text`; a rank that fails ends the others."""
    return ["-m", "mpi4py", "-c", text]
