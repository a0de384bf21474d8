"""A run on ranks that writes a checkpoint each iteration until it is killed; takes ``FOLDER``."""

import os
import sys
from pathlib import Path

import numpy as np

from fastbcd import Problem, ThreeSplitting, resume
from fastbcd.callbacks import SaveCheckpoint

N, MAX_ITER = 12_000, 100_000


def data():
    """The same samples for all."""
    rng = np.random.default_rng(7)
    return rng.standard_normal((N, 20), np.float32), rng.standard_normal((N, 10), np.float32)


def make(comm=None):
    """The solver. Its states are large for the work that an iteration is."""
    return ThreeSplitting(Problem((20, 200, 10)), tile_rows=1000, n_threads=1, comm=comm)


def main(folder):
    from mpi4py import MPI

    solver = make(MPI.COMM_WORLD)
    rows = solver.rows(N)
    X, Y = (array[rows] for array in data())
    (folder / f"pid-{MPI.COMM_WORLD.rank}").write_text(str(os.getpid()))
    path = folder / "c.safetensors"
    save = [SaveCheckpoint(path, every=1)]
    if path.exists():
        resume(path, solver, X, Y, save)
    else:
        solver.fit(X, Y, MAX_ITER, seed=3, callbacks=save)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
