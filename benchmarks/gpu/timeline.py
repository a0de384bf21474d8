"""Time of the card by kernel, in a full-batch iteration and in a pass of mini-batches.

PyTorch's profiler reads CUPTI, which sees every kernel of the process, whoever launched it. For
each of the two: seconds, the share of it in which a kernel runs, and kernels by their sums.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import WIDTHS, Results, samples

from fastbcd import Problem, ThreeSplitting
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting


def kernels_of(function: Callable[[], Any], most: int = 45) -> dict[str, Any]:
    """Seconds of `function`, how busy the card was, and its kernels, the longest first."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.init()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        function()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
    total: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    spans = []
    for event in profiler.events():
        if event.device_type.name != "CUDA":
            continue
        total[event.name][0] += event.device_time_total / 1e3
        total[event.name][1] += 1
        spans.append((event.time_range.start, event.time_range.end))
    busy, last = 0.0, 0.0
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, last))
        last = max(last, end)
    longest = sorted(total.items(), key=lambda item: -item[1][0])[:most]
    return {
        "ms": 1e3 * seconds,
        "ms in which a kernel runs": busy / 1e3,
        "kernels": len(spans),
        "longest: ms, times": {name[:110]: [round(t, 3), n] for name, (t, n) in longest},
    }


def main(out: str, folder: str | None = None) -> int:
    """Measure and write."""
    results = Results(Path(out))
    X, Y = samples(folder)
    solver = ThreeSplitting(Problem(WIDTHS, reduction="sum"), alpha=5.0, device="cuda")
    state = solver.init(X, Y, seed=40, init="normal:0.01", bias=0.1)
    for _ in range(2):
        solver.step(state)
    results["iteration"] = kernels_of(lambda: solver.step(state))
    problem = Problem((784, 500, 500, 10), loss="cross_entropy")
    batches = MiniBatchThreeSplitting(problem, device="cuda")
    running = batches.init(X, Y, passes=4)
    for _ in range(2):
        batches.step(running)
    results["pass of mini-batches"] = kernels_of(lambda: batches.step(running))
    import cProfile
    import io
    import pstats

    host = cProfile.Profile()
    host.runcall(batches.step, running)
    text = io.StringIO()
    pstats.Stats(host, stream=text).sort_stats("tottime").print_stats(35)
    results["host, a pass of mini-batches"] = text.getvalue().splitlines()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
