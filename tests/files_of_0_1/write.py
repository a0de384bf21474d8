"""Writes the files of this folder; they were written by version 0.1.0, at commit b2f3bbf.

``python write.py [FOLDER]`` writes the models, the checkpoints of one process and the run folders,
``mpiexec -n 2 python -m mpi4py write.py [FOLDER]`` the checkpoint of two ranks. The tests take the
same definitions from here, train again, and compare. Only public names are used.
"""

import contextlib
import itertools
import sys
from pathlib import Path

import numpy as np

from fastbcd import (
    MiniBatchThreeSplitting,
    Model,
    Network,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    one_hot,
)
from fastbcd.callbacks import (
    Accuracy,
    BatchLoss,
    BlockTimes,
    Callback,
    Certify,
    EarlyStopping,
    Objective,
    SaveCheckpoint,
    StopOnSignal,
)
from fastbcd.data import Preprocessing
from fastbcd.kernels import leaky_relu, linear, relu, tanh

HERE = Path(__file__).parent
MAX_ITER, STOP = 9, 4
RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 5)).astype(np.float32)
LABELS = RNG.integers(3, size=48)
Y = one_hot(LABELS, 3)
WEIGHT = RNG.integers(1, 4, size=48).astype(np.float64)


class StopAfter(Callback):
    def __init__(self, iteration):
        self.iteration = iteration

    def on_iteration(self, solver, state, record):
        return record["iteration"] == self.iteration


def measured():
    """Callbacks of full batches; the last two remember."""
    return [
        Objective(2),
        Accuracy("train", X, LABELS),
        BlockTimes(),
        Certify(2),
        EarlyStopping("train_accuracy", n_iter_no_change=20),
    ]


def batches_measured():
    """Callbacks of mini-batches; the last one remembers."""
    return [BatchLoss(), EarlyStopping("batch_loss", n_iter_no_change=20, mode="min")]


def three_splitting():
    return ThreeSplitting(Problem((5, 6, 3), weight_penalty="l1:1e-4"))


def residual():
    problem = Problem((5, 4, 4, 3), residual=True, state_penalty="nonnegative")
    return ThreeSplitting(problem, dtype="float64")


def two_splitting():
    problem = Problem((5, 6, 3), activation="tanh", loss="cross_entropy")
    return TwoSplitting(problem, inner_steps=2)


def mini_batch():
    return MiniBatchThreeSplitting(Problem((5, 4, 4, 3), residual=True), 12, rank=3)


def without_averages():
    problem = Problem((5, 6, 3), loss="logistic_ovr")
    return MiniBatchThreeSplitting(problem, 20, average=0.0, dtype="float64")


# Solver, callbacks, weights of samples.
CHECKPOINTS = {
    "three-splitting": (three_splitting, measured, None),
    "residual": (residual, list, WEIGHT),
    "two-splitting": (two_splitting, measured, None),
    "mini-batch": (mini_batch, batches_measured, WEIGHT),
    "without-averages": (without_averages, batches_measured, None),
}


def two_ranks(comm=None):
    """The solver of the checkpoint that two ranks wrote."""
    problem = Problem((5, 6, 3), activation="tanh")
    return ThreeSplitting(problem, dtype="float64", tile_rows=8, comm=comm)


def network(widths, dtype, residual=False):
    """Random weights."""
    rng, layers = np.random.default_rng(1), list(itertools.pairwise(widths))
    weights = [rng.standard_normal((d, below + 1)).astype(dtype) for below, d in layers]
    hidden = [relu(), tanh(), leaky_relu(0.1)][: len(layers) - 1]
    return Network(weights, [*hidden, linear()], [residual and below == d for below, d in layers])


def models():
    """Models by the names of their files."""
    rng = np.random.default_rng(2)
    wide = rng.standard_normal((60, 4)) * [1.0, 10.0, 1e3, 1e-3] + [0.0, 5.0, 0.0, 1.0]
    pixels = rng.integers(256, size=(60, 6)).astype(np.uint8)
    texts = np.array(["no", "yes", 'it "depends" ä'])
    single, double = np.float32, np.float64
    return {
        "texts": Model(
            network((4, 5, 3), single),
            texts,
            Preprocessing.fit(wide),
            feature_names=["a", "b c", "ü", "d"],
            loss="cross_entropy",
            input_kind="f",
        ),
        "images": Model(
            network((6, 3, 2), single),
            np.array([3, 8]),
            Preprocessing.fit(pixels),
            loss="squared",
            input_kind="u",
            image_shape=(2, 3),
        ),
        "own-texts": Model(
            network((4, 3, 3), double), texts.astype(object), Preprocessing.fit(wide, "none")
        ),
        "bools": Model(
            network((4, 3, 2), double),
            np.array([False, True]),
            Preprocessing.fit(wide, "standard"),
            loss="exponential",
        ),
        "regressor": Model(
            network((4, 5, 2), double),
            None,
            Preprocessing.fit(wide, "clipped"),
            loss="squared",
            target_shift=np.array([1e9, -3.0]),
            target_scale=np.array([1e-3, 20.0]),
        ),
        "residual": Model(
            network((4, 4, 4, 4, 1), single, residual=True),
            None,
            Preprocessing.fit(wide, "unit"),
            input_kind="n",
        ),
    }


def rows_of_csv():
    """A table with two columns and a target, for the command line."""
    header = "left,right,kind\n"
    rows = (f"{a:.4f},{b:.4f},{'round' if a * b > 0 else 'square'}\n" for a, b in X[:, :2])
    return header + "".join(rows)


RUN = [
    *("--target", "kind", "--hidden", "4", "--epochs", "6", "--certify", "2", "--seed", "3"),
    *("--dtype", "float64", "--threads", "1", "--quiet"),
]


def write_runs(folder):
    """A finished run, and one that a signal ended after three iterations."""
    from fastbcd.cli.main import main

    def stop(self, solver, state, record):
        self.received = 2 if record["iteration"] == 3 else None
        return self.received is not None

    (folder / "data.csv").write_text(rows_of_csv(), encoding="utf-8")
    for name in ("finished", "interrupted"):
        if name == "interrupted":
            StopOnSignal.on_iteration = stop
        sys.argv = ["fastbcd", "train", str(folder / "data.csv"), *RUN, "--out", str(folder / name)]
        with contextlib.suppress(SystemExit):
            main()


def write(folder):
    """All that one process writes."""
    for name, model in models().items():
        model.save(folder / f"model-{name}.safetensors")
    for name, (make, measure, weight) in CHECKPOINTS.items():
        path = folder / f"checkpoint-{name}.safetensors"
        callbacks = [*measure(), StopAfter(STOP), SaveCheckpoint(path)]
        make().fit(X, Y, MAX_ITER, seed=3, callbacks=callbacks, sample_weight=weight)
    write_runs(folder)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    try:
        from mpi4py import MPI
    except ImportError:
        MPI = None
    if MPI is not None and MPI.COMM_WORLD.size > 1:
        solver, path = two_ranks(MPI.COMM_WORLD), target / "checkpoint-ranks.safetensors"
        rows = solver.rows(len(X))
        callbacks = [Objective(), StopAfter(STOP), SaveCheckpoint(path)]
        solver.fit(X[rows], Y[rows], MAX_ITER, seed=3, callbacks=callbacks)
    else:
        write(target)
