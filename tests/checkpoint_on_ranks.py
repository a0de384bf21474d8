"""Program of `test_checkpoint_ranks` for four ranks, ``FOLDER``; it prints its results as JSON.

Without an argument it only compiles.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI
from stopping import StopAfter

from fastbcd import Problem, ThreeSplitting, TwoSplitting, one_hot, resume
from fastbcd.callbacks import Callback, Objective, SaveCheckpoint

WORLD, N, MAX_ITER = MPI.COMM_WORLD, 150, 9
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((N, 6)), one_hot(RNG.integers(3, size=N), 3)
# Where the shares of ranks end: uneven, and one of them without samples.
ENDS = {1: [N], 2: [31, N], 3: [90, 91, N], 4: [5, 5, 101, N]}
FLOAT64 = {"dtype": "float64", "tile_rows": 16}
SOLVERS = {
    "three-splitting": lambda comm: ThreeSplitting(
        Problem((6, 8, 8, 3), residual=True, weight_penalty="l1:1e-4"), comm=comm, **FLOAT64
    ),
    "two-splitting": lambda comm: TwoSplitting(
        Problem((6, 8, 3), activation="tanh", loss="cross_entropy"), comm=comm, **FLOAT64
    ),
    "float32": lambda comm: ThreeSplitting(Problem((6, 8, 3)), tile_rows=16, comm=comm),
    "accelerated": lambda comm: TwoSplitting(
        Problem((6, 8, 3)), acceleration="nesterov", comm=comm, **FLOAT64
    ),
    "float32, accelerated": lambda comm: ThreeSplitting(
        Problem((6, 8, 3)), acceleration="nesterov", tile_rows=16, comm=comm
    ),
}


class Count(Callback):
    """Remembers the iterations it saw, and which rank it was first on."""

    def __init__(self):
        self.seen = np.array([WORLD.rank])

    def on_iteration(self, solver, state, record):
        self.seen = np.append(self.seen, record["iteration"])

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, remembered):
        self.seen = remembered["seen"]


class LimitFiles(Callback):
    """After three iterations no file of one rank may become as large as `path`."""

    def __init__(self, rank, path):
        self.rank, self.path = rank, path

    def on_iteration(self, solver, state, record):
        if record["iteration"] == 3 and WORLD.rank == self.rank:
            size = self.path.stat().st_size - 1
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def share(comm, name):
    """The samples of this rank."""
    if name.startswith("float32"):
        rows = SOLVERS[name](comm).rows(N)
    else:
        bounds = [0, *ENDS[comm.size]]
        rows = slice(*bounds[comm.rank : comm.rank + 2])
    return X[rows], Y[rows]


def on(n_ranks):
    """A communicator of the first ranks; None on the others."""
    comm = WORLD.Split(0 if WORLD.rank < n_ranks else MPI.UNDEFINED)
    return comm if WORLD.rank < n_ranks else None


def callbacks(path, stop=None, every=None):
    stops = [] if stop is None else [StopAfter(stop)]
    return [Objective(), Count(), *stops, SaveCheckpoint(path, every)]


def files(path):
    """All files and folders beside `path`."""
    return sorted(str(p.relative_to(path.parent)) for p in path.parent.rglob("*"))


def new_path(folder, name):
    """Path of a checkpoint in its own folder, on all ranks."""
    (folder / name).mkdir(exist_ok=True)
    return folder / name / "c.safetensors"


def result_of(comm, result):
    """All blocks, of all samples; history without times."""
    blocks = [*result.state.W[1:]]
    for A in (*result.state.V[1:], *result.state.U[1:]):
        if A is not None:
            blocks.append(np.concatenate(comm.allgather(A)))
    records = [
        {k: v for k, v in record.items() if not k.startswith("seconds")}
        for record in result.history
    ]
    seconds = [record["seconds"] for record in result.history]
    return blocks, records, seconds == sorted(seconds), result.callbacks[1].seen.tolist()


def change_of_ranks(folder):
    """4 -> 2 -> 1 -> 3 ranks against one process that is not interrupted."""
    report = {}
    for name, make in SOLVERS.items():
        path, found = new_path(folder, name), []
        for n_ranks, stop in ((4, 2), (2, 4), (1, 6), (3, None)):
            if comm := on(n_ranks):
                more = callbacks(path, stop)
                if n_ranks == 4:
                    result = make(comm).fit(*share(comm, name), MAX_ITER, 3, callbacks=more)
                else:
                    result = resume(path, make(comm), *share(comm, name), more)
                final = result_of(comm, result)
                found.append(files(path))
            WORLD.Barrier()
        whole = make(None).fit(X, Y, MAX_ITER, 3, callbacks=callbacks(folder / "none"))
        if WORLD.rank == 0:
            expected = result_of(MPI.COMM_SELF, whole)
            pairs = list(zip(final[0], expected[0], strict=True))
            objectives = [[r["objective"] for r in part[1]] for part in (final, expected)]
            report[name] = {
                "difference": max(
                    float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs
                ),
                "same_bits": all(a.tobytes() == b.tobytes() for a, b in pairs),
                "objectives": float(np.max(np.abs(np.divide(*objectives) - 1))),
                "iterations": [r["iteration"] for r in final[1]],
                "seconds_grow": final[2],
                "remembered": final[3],
                "files": found,
            }
    return report


def message(error_type, act):
    """Messages of all ranks when `act` fails."""
    try:
        act()
    except error_type as error:
        said = str(error)
    else:
        said = None
    return WORLD.allgather(said)


def failures(folder):
    """A failure on one rank is a failure on all; the last checkpoint stays."""
    name, report = "three-splitting", {}
    make, here = SOLVERS[name], share(WORLD, name)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for label, rank in (("full disk of a shard", 2), ("full disk of the index", 0)):
        path = new_path(folder, label)
        limit = path if rank == 0 else path.with_name("c.safetensors.parts") / "0-2.safetensors"
        more = [LimitFiles(rank, limit), *callbacks(path, every=2)]
        over = make(WORLD).fit(*here, MAX_ITER, 3, callbacks=more)
        assert len(over.history) == MAX_ITER
        report[label] = WORLD.allgather(more[-1].failed)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        WORLD.Barrier()
        report[f"{label}: files"] = files(path)
        result = resume(path, make(WORLD), *here, callbacks(path))
        report[f"{label}: resumed"] = result.history[-1]["objective"]
    whole = make(WORLD).fit(*here, MAX_ITER, 3, callbacks=callbacks(path, every=2))
    report["objective"] = whole.history[-1]["objective"]

    def go_on(X=here[0]):
        resume(path, make(WORLD), X, here[1])

    other = here[0].copy()
    if WORLD.rank == 2:
        other[-1, 3] = np.nextafter(other[-1, 3], 9)
    report["other data"] = message(Exception, lambda: go_on(other))
    solver = make(WORLD)
    if WORLD.rank == 1:
        solver.alpha = 0.5
    report["other solver"] = message(Exception, lambda: resume(path, solver, *here))
    shard = sorted((path.parent / "c.safetensors.parts").iterdir())[-1]
    whole = shard.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    WORLD.Barrier()  # rank 0 removes the file that all read
    for label, content in (("damaged shard", flipped), ("missing shard", None)):
        if WORLD.rank == 0:
            shard.unlink()
            if content is not None:
                shard.write_bytes(content)
        WORLD.Barrier()
        report[label] = message(Exception, go_on)
        WORLD.Barrier()
    return report


def compile_kernels():
    """Write the kernels to the cache: ranks that compile at the same time all compile all."""
    for make in SOLVERS.values():
        make(None).fit(X, Y, 2, 3, callbacks=[Objective()])


if __name__ == "__main__":
    if len(sys.argv) == 1:
        compile_kernels()
        sys.exit()
    reported = [case(Path(sys.argv[1])) for case in (change_of_ranks, failures)]
    if WORLD.rank == 0:
        print(json.dumps(reported))
