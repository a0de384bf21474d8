"""One full-batch iteration of 784-1500x3-10 on 60,000 samples.

Its time over the sum of its own cuBLAS and cuSOLVER calls, replayed in the same run, in each
precision; over the published procedure in PyTorch on the same card; and the objective over 50
iterations.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import WIDTHS, Results, Timer, samples

from fastbcd import Problem, ThreeSplitting
from fastbcd.training.loop import network_of


class Replay:
    """The library's calls of one step, kept, to be made again on their own."""

    NAMES = (
        *("gemm", "gram", "partial_products", "partial_grams"),
        *("cholesky", "cholesky_solve", "cholesky_solve_columns"),
    )

    def __init__(self, library: Any) -> None:
        self.calls: list[Callable[[], Any]] = []
        self._library = library

    def __enter__(self) -> Replay:
        for name in self.NAMES:
            setattr(self._library, name, self._kept(getattr(self._library, name)))
        return self

    def _kept(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if function.__name__ == "cholesky":  # in place: a factor is no matrix to factor again
                (A,) = arguments
                before = A.copy()
                self.calls.append(lambda: (A.__setitem__(Ellipsis, before), function(A)))
            else:
                self.calls.append(lambda: function(*arguments, **options))
            return function(*arguments, **options)

        return call

    def __exit__(self, *exception: object) -> None:
        for name in self.NAMES:
            delattr(self._library, name)

    def __call__(self) -> None:
        for call in self.calls:
            call()


def of_iterations(
    timer: Timer, X: Any, Y: Any, widths: tuple[int, ...], **options: Any
) -> dict[str, float]:
    """Seconds of an iteration, and of its own products and factorisations alone."""
    problem = Problem(widths, reduction="sum", gamma=1.0)
    solver = ThreeSplitting(problem, alpha=5.0, device="cuda", **options)
    state = solver.init(X, Y, seed=40, init="normal:0.01", bias=0.1)
    with solver.device.session():
        step = timer(lambda: solver.step(state), repeat=5)
        with Replay(solver.device.library) as replay:
            solver.step(state)
        products = timer(replay, repeat=5)
    return {"seconds": step, "products": products, "ratio": step / products}


def of_the_published_procedure(X: Any, Y: Any, widths: tuple[int, ...]) -> float:
    """Seconds of an iteration in PyTorch on the card, without its monitoring; TF32 off."""
    import torch

    sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "peers")]
    from published import Blocks, PublishedBCD

    torch.backends.cuda.matmul.allow_tf32 = False
    procedure = PublishedBCD(widths)
    start = procedure.start(torch.from_numpy(np.ascontiguousarray(X.T)))
    torch.set_default_device("cuda")
    try:
        moved = [[None if a is None else a.cuda() for a in part] for part in vars(start).values()]
        blocks, targets = Blocks(*moved), torch.from_numpy(np.ascontiguousarray(Y.T)).cuda()
        times = []
        for _ in range(6):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            procedure.iterate(blocks, targets)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        return statistics.median(times[1:])
    finally:
        torch.set_default_device("cpu")


def of_descent(X: Any, Y: Any, widths: tuple[int, ...], **options: Any) -> dict[str, Any]:
    """Objectives of 50 full-batch iterations, and the largest relative rise."""
    solver = ThreeSplitting(
        Problem(widths, reduction="sum", gamma=1.0), alpha=5.0, device="cuda", **options
    )
    state = solver.init(X, Y, seed=40, init="normal:0.01", bias=0.1)
    objectives = [solver.objective(state)]
    for _ in range(50):
        solver.step(state)
        objectives.append(solver.objective(state))
    rises = [b / a - 1.0 for a, b in itertools.pairwise(objectives)]
    right = network_of(solver, state).forward(X).argmax(1) == Y.argmax(1)
    return {"accuracy": float(right.mean()), "objectives": objectives, "largest_rise": max(rises)}


def main(out: str, folder: str | None = None) -> int:
    """Measure and write."""
    import cupy

    results, timer = Results(Path(out)), Timer(cupy)
    X, Y = samples(folder)
    pool = cupy.get_default_memory_pool()
    for precision in ("float32", "tf32", "bf16"):
        results[f"iteration, {precision}"] = of_iterations(timer, X, Y, WIDTHS, precision=precision)
        pool.free_all_blocks()
    seconds = of_the_published_procedure(X, Y, WIDTHS)
    results["published procedure, s"] = seconds
    ours = results.entries["iteration, float32"]["seconds"]
    results["iteration over published"] = ours / seconds
    import torch

    torch.cuda.empty_cache()
    for precision in ("float32", "tf32", "bf16"):
        results[f"descent, {precision}"] = of_descent(X, Y, WIDTHS, precision=precision)
        pool.free_all_blocks()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
