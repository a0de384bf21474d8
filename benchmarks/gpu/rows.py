"""The rows of the asv suite that are for a GPU, run by hand where asv is not installed."""

from __future__ import annotations

import inspect
import itertools
import sys
from pathlib import Path
from typing import Any

from common import Results

BENCHMARKS = Path(__file__).resolve().parents[1]


def rows_of(benchmark: type) -> list[tuple[Any, ...]]:
    """Parameters of each row that is for a GPU."""
    params = getattr(benchmark, "params", ())
    if params and not isinstance(params[0], list):
        params = (params,)
    rows = list(itertools.product(*params))
    return rows if "gpu" in benchmark.__module__ else [row for row in rows if "cuda" in row]


def main(out: str) -> int:
    """Run and write; 1 where a row failed."""
    sys.path[:0] = [str(BENCHMARKS)]
    from suite import gpu, iteration
    from suite.measure import seconds

    results, failed = Results(Path(out)), 0
    for module in (gpu, iteration):
        for name, benchmark in inspect.getmembers(module, inspect.isclass):
            if benchmark.__module__ != module.__name__:
                continue
            for row in rows_of(benchmark):
                label = " ".join(map(str, (name, *row)))
                try:
                    running = benchmark()
                    running.setup(*row)
                    entry = {}
                    for method in (m for m in dir(running) if m.startswith(("time_", "track_"))):
                        call = getattr(running, method)
                        if "floor" in method:
                            continue  # of the processor's BLAS
                        if method.startswith("time_"):
                            entry[method] = seconds(lambda call=call, row=row: call(*row), 3)
                        else:
                            entry[method] = call(*row)
                    results[label] = entry
                except Exception as problem:
                    failed = 1
                    results[label] = {"failed": f"{type(problem).__name__}: {problem}"[:500]}
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
