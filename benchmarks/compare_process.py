"""The process of one version for `compare.py`: it runs benchmarks of the suite when asked.

A request is a line of JSON on standard input, and so is its answer on standard output:

    {"list": true}        names of the benchmarks, one for each combination of parameters
    {"open": NAME}        prepare this one, run it twice, and give the seconds of the second time
    {"calls": N}          run it N times, and give the seconds of one

An answer with "error" says why a benchmark does not run in this version.
"""

from __future__ import annotations

import importlib
import itertools
import json
import pkgutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import suite


def benchmarks() -> Iterator[tuple[str, type, str, tuple[Any, ...]]]:
    """Yield name, class, method and parameters of every time that the suite measures."""
    for module in pkgutil.iter_modules(suite.__path__):
        try:
            found = importlib.import_module(f"suite.{module.name}")
        except ImportError:  # a part of the suite that this version is too old for
            continue
        for kind in vars(found).values():
            if not (isinstance(kind, type) and kind.__module__ == found.__name__):
                continue
            lists = getattr(kind, "params", [()])
            several = lists and isinstance(lists[0], (list, tuple)) and lists[0] != ()
            combinations = itertools.product(*lists) if several else [()]
            methods = [name for name in vars(kind) if name.startswith("time_")]
            for method, parameters in itertools.product(methods, list(combinations)):
                values = ", ".join(map(str, parameters))
                name = f"{module.name}.{kind.__name__}.{method}" + (f"({values})" if values else "")
                yield name, kind, method, parameters


def opened(name: str) -> Callable[[], object]:
    """Prepare a benchmark, and return the function that runs it."""
    for known, kind, method, parameters in benchmarks():
        if known == name:
            benchmark = kind()
            if hasattr(benchmark, "setup"):
                benchmark.setup(*parameters)
            return lambda: getattr(benchmark, method)(*parameters)
    raise LookupError("a module of the suite cannot be imported with it")


def seconds(function: Callable[[], object], calls: int) -> float:
    """Return the seconds of one of `calls` calls."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def answer(request: dict[str, Any], state: dict[str, Any]) -> Any:
    """Do what the request asks for; `state` keeps the benchmark that is open."""
    if "list" in request:
        return [name for name, *_ in benchmarks()]
    if "open" in request:
        state.clear()  # the memory of the one before is free before the next one takes its own
        state["run"] = opened(request["open"])
        state["run"]()
        return {"seconds": seconds(state["run"], 1)}
    return {"seconds": seconds(state["run"], request["calls"])}


def main() -> None:
    """Answer requests until there are no more."""
    out, state = sys.stdout, {}
    sys.stdout = sys.stderr  # what a benchmark prints is no answer
    for line in sys.stdin:
        try:
            result = answer(json.loads(line), state)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=out, flush=True)


if __name__ == "__main__":
    main()
