"""Several ranks in tests: processes of MPI, or threads of this process where one must see all."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from command import environment

TESTS = Path(__file__).parent


def mpi_command(script, n_ranks, *arguments):
    """The command line of ``script ARGUMENTS`` on `n_ranks` ranks; skips where there is no MPI."""
    pytest.importorskip("mpi4py", reason="mpi4py is not installed: no MPI")
    beside = Path(sys.executable).parent / "mpiexec"
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("no mpiexec: no MPI")
    # python -m mpi4py: a rank that raises ends all of them.
    python = [sys.executable, "-m", "mpi4py", str(TESTS / script)]
    return [mpiexec, "-n", str(n_ranks), *python, *map(str, arguments)]


def start_on_ranks(script, n_ranks, *arguments):
    """The process of ``mpiexec`` with a file of this folder, in a session of its own."""
    command = mpi_command(script, n_ranks, *arguments)
    env = {**environment(), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=env, text=True, start_new_session=True, **pipes)


def end(process, timeout):
    """What `process` printed; a job that hangs is killed, and fails the test."""
    try:
        return process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        process.terminate()  # mpiexec ends its ranks
        try:
            printed = process.communicate(timeout=10)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed = process.communicate()[0]
        pytest.fail(f"the ranks hang; they printed: {printed}")


def run_on_ranks(script, n_ranks, *arguments, timeout=60):
    """What the first rank of `script` printed last, read as JSON."""
    process = start_on_ranks(script, n_ranks, *arguments)
    printed = end(process, timeout)
    assert process.returncode == 0, printed
    return json.loads(printed.splitlines()[-1])


class ThreadRanks:
    """Ranks that are threads; of what ranks do, that which checkpoints need."""

    on_this_machine = 1

    def __init__(self, rank, size, board, barrier):
        self.rank, self.size, self._board, self._barrier = rank, size, board, barrier

    def gather(self, value):
        self._board[self.rank] = value
        self._barrier.wait(30)
        values = list(self._board)
        self._barrier.wait(30)
        return values


def in_threads(size, body):
    """``body(ranks)`` for each rank, at a time: what they return; raises what the first raised."""
    board, barrier = [None] * size, threading.Barrier(size)
    results = [None] * size

    def work(rank):
        try:
            results[rank] = body(ThreadRanks(rank, size, board, barrier))
        except BaseException as error:
            results[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
