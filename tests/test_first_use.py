"""The cost of a process before its first iteration."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import fastbcd
from fastbcd import MiniBatchThreeSplitting, Problem, ThreeSplitting, TwoSplitting, kernels, one_hot
from fastbcd.data.augmentation import Augmentation
from fastbcd.layers import Conv2d, Dense


def python(script, **environment):
    """Standard output of a new process."""
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_import_takes_no_heavy_module_along():
    script = "import fastbcd, fastbcd.callbacks, fastbcd.plots, sys; print(*sys.modules)"
    loaded = set(python(script).split())
    heavy = {
        "sklearn",
        "matplotlib",
        "torch",
        "onnx",
        "scipy.linalg",
        "scipy.special",
        "pandas",
        "cupy",
        "numba.cuda",
        "numba_cuda",
        "mpi4py",
        "tqdm",
        "asyncio",
    }
    assert not loaded & heavy
    assert "numba" in loaded


@pytest.mark.slow
def test_import_costs_less_than_that_of_numba_and_scipy(tmp_path):
    script = (
        # Processor time: other work on the machine slows small files down more than large ones.
        "import time; start = time.process_time()\n"
        "import numba, scipy, concurrent.futures\n"
        "middle = time.process_time()\n"
        "import fastbcd\n"
        "print(middle - start, time.process_time() - middle)"
    )
    # Where Python may not keep what it compiles, this test would measure its compiler.
    keep = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    python(script, **keep)  # compiles the files
    ratios = []
    # Other work makes some of them too large, and none too small.
    while len(ratios) < 15 and not any(ratio < 0.85 for ratio in ratios):
        theirs, ours = map(float, python(script, **keep).split())
        ratios.append(ours / theirs)
    assert min(ratios) < 0.85


COUNT_COMPILATIONS = """
import json
from fastbcd import Problem, ThreeSplitting, kernels, warmup
from fastbcd.kernels import gram_solve, gram_sums, hidden_state, output_state, preactivation

solver = ThreeSplitting(Problem((5, 4, 3), activation="leaky_relu:0.1"))
warmup(solver)
dispatchers = [f for f in map(kernels.__dict__.get, kernels.__all__) if hasattr(f, "stats")]
print(json.dumps({
    "hits": sum(sum(f.stats.cache_hits.values()) for f in dispatchers),
    "misses": sum(sum(f.stats.cache_misses.values()) for f in dispatchers),
    "type": str(solver.problem.activations[0].numba_type),
}))
"""


def test_a_second_process_compiles_nothing():
    # Sets are ordered by a seed of the process: the digest in the types must not be. The first
    # process compiles what no other test has compiled before.
    first, second = (
        json.loads(python(COUNT_COMPILATIONS, PYTHONHASHSEED=str(seed))) for seed in (1, 2)
    )
    assert first["type"] == second["type"]
    assert second["misses"] == 0
    assert second["hits"] > 10


SOLVERS = {
    "default": lambda: ThreeSplitting(Problem((6, 5, 3))),
    "residual, float64": lambda: ThreeSplitting(
        Problem((6, 5, 5, 3), residual=True, activation="tanh"), dtype="float64"
    ),
    "penalties": lambda: ThreeSplitting(
        Problem((20, 12, 4), weight_penalty="l1:0.01", state_penalty="nonnegative"), n_threads=1
    ),
    "two-splitting": lambda: TwoSplitting(
        Problem((6, 5, 2), activation="softplus", loss="cross_entropy")
    ),
}
MINI_BATCHES = {
    "noise": lambda: MiniBatchThreeSplitting(
        Problem((30, 20, 4)), dropout=0.1, input_noise=0.1, nesterov=True
    ),
    "moved rows": lambda: MiniBatchThreeSplitting(
        Problem((192, 9, 4)), augment=Augmentation("crop:2", (8, 8, 3), padding=0.5)
    ),
    "moved images": lambda: MiniBatchThreeSplitting(
        images(), augment="crop:2,flip", step_unit="spectral"
    ),
}


def images():
    layers = [Conv2d((8, 8, 3), channels=4, kernel=3), Dense(144, 5)]
    return Problem((192, 144, 5), layers=layers)


@pytest.mark.parametrize(
    ("name", "certify"),
    [*itertools.product(SOLVERS, [False, True]), *((name, False) for name in MINI_BATCHES)],
)
def test_after_warmup_a_fit_compiles_nothing(name, certify):
    solver = {**SOLVERS, **MINI_BATCHES}[name]()
    assert fastbcd.warmup(solver, certify=certify) > 0

    def compiled():
        functions = map(kernels.__dict__.get, kernels.__all__)
        return {f: len(f.signatures) for f in functions if hasattr(f, "signatures")}

    before = compiled()
    widths = solver.problem.widths
    rng = np.random.default_rng(0)
    X, Y = rng.random((700, widths[0])), one_hot(rng.integers(widths[-1], size=700), widths[-1])
    callbacks = [fastbcd.callbacks.Certify() if certify else fastbcd.callbacks.Objective()]
    solver.fit(X, Y, max_iter=3, callbacks=callbacks)
    assert compiled() == before


def test_warmup_leaves_the_solver_as_it_was():
    solver = ThreeSplitting(Problem((30, 40, 10)), alpha=0.5)
    fastbcd.warmup(solver)
    assert solver.problem.widths == (30, 40, 10)
    moved = Augmentation("crop:2", (8, 8, 3))
    solver = MiniBatchThreeSplitting(Problem((192, 9, 4)), augment=moved, dropout=0.1)
    fastbcd.warmup(solver)
    assert solver.augment is moved
    assert solver.noise.problem is solver.problem


def test_warmup_without_arguments_prepares_the_defaults():
    assert fastbcd.warmup() > 0
