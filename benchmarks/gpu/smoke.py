"""First contact: what is installed, every kernel once, one iteration of each solver, one graph.

Each step is tried on its own, and a failure is written down with its traceback.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import Results

TESTS = Path(__file__).resolve().parents[2] / "tests"
PACKAGES = (
    *("numba", "numba-cuda", "cupy-cuda13x", "cupy-cuda12x", "cuda-core", "cuda-bindings"),
    *("cuda-pathfinder", "numpy", "scipy", "scikit-learn", "torch", "triton", "pytest"),
)


def versions() -> dict[str, str]:
    """Python and every package that has a part in this."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def device() -> dict[str, str]:
    """The facts about the card that `fastbcd info` prints."""
    from fastbcd.devices.cuda.library import describe

    return describe()


def kernels() -> dict[str, Any]:
    """One case of each function of `fastbcd.kernels.cuda`, compared with the processor's."""
    import cupy
    from agreement import check
    from cases import cases

    import fastbcd.kernels.cuda as target

    tried: dict[str, str] = {}
    for case in cases("float32"):
        if case.function in tried:
            continue
        try:
            check(case, target, cupy.asarray, cupy.asnumpy, slack=8.0)
            tried[case.function] = "agrees"
        except Exception as problem:
            tried[case.function] = f"{type(problem).__name__}: {str(problem)[:1500]}"
    wrong = {name: text for name, text in tried.items() if text != "agrees"}
    return {"functions": len(tried), "wrong": wrong}


def iterations() -> dict[str, Any]:
    """Objectives of two iterations on both devices."""
    from fastbcd import Problem, ThreeSplitting, TwoSplitting, one_hot

    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((1000, 12), np.float32), one_hot(rng.integers(0, 3, 1000))
    found = {}
    for solver in (ThreeSplitting, TwoSplitting):
        for name in ("cpu", "cuda"):
            trained = solver(Problem((12, 32, 32, 3)), alpha=0.1, device=name)
            state = trained.init(X, Y, seed=1)
            values = [trained.objective(state)]
            for _ in range(2):
                trained.step(state)
                values.append(trained.objective(state))
            found[f"{solver.__name__} {name}"] = values
    return found


def graphs() -> dict[str, Any]:
    """Whether two passes of mini-batches end with the same bits with graphs and without."""
    from fastbcd import Problem, one_hot
    from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting

    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((4000, 12), np.float32), one_hot(rng.integers(0, 3, 4000))
    weights = []
    for uses_graphs in (False, True):
        problem = Problem((12, 32, 32, 3), loss="cross_entropy")
        solver = MiniBatchThreeSplitting(problem, batch_size=100, rank=4, device="cuda")
        solver.device.batches.graphs = uses_graphs
        state = solver.init(X, Y, seed=0, passes=2)
        for _ in range(2):
            solver.step(state)
        weights.append([solver.device.numpy(W) for W in state.W[1:]])
    distance = max(float(abs(a - b).max()) for a, b in zip(*weights, strict=True))
    return {"largest difference of weights": distance}


def main(out: str) -> int:
    """Try everything; 1 where a step failed."""
    sys.path[:0] = [str(TESTS / "gpu"), str(TESTS)]
    results, failed = Results(Path(out)), 0
    steps: tuple[Callable[[], Any], ...] = (versions, device, iterations, graphs, kernels)
    for step in steps:
        begin = time.perf_counter()
        try:
            results[step.__name__] = step()
        except Exception:
            failed = 1
            results[step.__name__] = {"failed": traceback.format_exc()[-3000:]}
        results[f"seconds of {step.__name__}"] = round(time.perf_counter() - begin, 1)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
