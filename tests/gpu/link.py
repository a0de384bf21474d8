"""Compile and link kernels of the GPU without one: ``link.py [--all | --few] [K N]``.

`fastbcd.kernels.cuda.target.record` records the launches of every case in `cases` that is not rare,
so that each kernel is seen with each formula; `--all` adds the rare ones. `--few` keeps the first
formula of each kernel and type, and every third of the others. Each kernel is compiled
once, to LTO-IR for the oldest architecture, and linked for all. The linker's ptxas reports
registers and spills, and its PTX shows float64 arithmetic and parameters. A kernel must link
without spills. Its parameters must be the words that a launch hands over; Numba's launcher gives
them, except for arrays. A float32 kernel that is not float64 by intention (`Case.f64`) may have
float64 instructions only to load and convert parameters. With K N, only the kernels K, K + N, ...
are linked.
"""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from agreement import arguments_of
from cases import cases, is_rare
from compiled import (
    ARCHITECTURES,
    check_parameters,
    intermediate,
    linked,
    ptx_of,
    signature,
)

import fastbcd.kernels.cuda as kernels
from fastbcd.kernels.cuda import target

# A float64 parameter of a float32 kernel may be loaded and rounded.
HARMLESS = re.compile(r"\.param|\.reg|^\s*(ld\.param|cvt\.(rn\.)?f32\.f64|mov\.f64)")


def recorded(everything: bool) -> Iterator[tuple[str, bool, Any, tuple[Any, ...], tuple[Any, ...]]]:
    """Yield name, intention of float64, kernel, signature and arguments of each distinct launch."""
    seen = set()
    for dtype in ("float32", "float64"):
        for case in cases(dtype):
            if is_rare(case, dtype) and not everything:
                continue
            target.record = []
            getattr(kernels, case.function)(*arguments_of(case, True, lambda array: array))
            launches, target.record = target.record, None
            for kernel, arguments in launches:
                key = kernel, signature(arguments)
                if key not in seen:
                    seen.add(key)
                    name = f"{case.function}[{case.name}] {dtype}: {kernel.py_func.__name__}"
                    yield name, case.f64 or dtype == "float64", *key, arguments


def few(launches: Iterable[Any]) -> Iterator[Any]:
    """Yield the first launch of each kernel and type, and every third of the others."""
    seen, others = set(), itertools.count(1)
    for launch in launches:
        name, _, kernel, *_ = launch
        key = kernel, "] float64:" in name
        if key not in seen or next(others) % 3 == 0:
            yield launch
        seen.add(key)


_compared: set[Any] = set()


def link(
    kernel: Any, types: tuple[Any, ...], arguments: tuple[Any, ...], f64: bool
) -> dict[str, dict[str, Any]]:
    """Return registers, spilled bytes and float64 instructions of a kernel, by architecture."""
    oldest, code = min(ARCHITECTURES), intermediate(kernel.py_func, types)
    found = {}
    for architecture in ARCHITECTURES:
        log = linked(code, architecture, "cubin", ptxas_options=["-v"])[1]
        found[architecture] = {
            "registers": int(re.search(r"Used (\d+) registers", log)[1]),
            "spilled": sum(map(int, re.findall(r"(\d+) bytes spill", log))),
            "f64": [],
        }
    if f64 and kernel in _compared:
        return found  # the words of a launch do not depend on the kind of formula
    _compared.add(kernel)
    ptx = ptx_of(code)
    check_parameters(ptx, types, arguments)
    if not f64:
        lines = [line.strip() for line in ptx.splitlines() if ".f64" in line]
        found[oldest]["f64"] = [line for line in lines if not HARMLESS.search(line)]
    return found


def main(everything: bool, only_few: bool, share: int, shares: int) -> int:
    """Link kernels `share`, `share + shares`, ... and print a summary; return 1 if one is wrong."""
    start, wrong, n, most = time.time(), 0, 0, 0
    launches = recorded(everything)
    for name, f64, kernel, types, arguments in itertools.islice(
        few(launches) if only_few else launches, share, None, shares
    ):
        try:
            found = link(kernel, types, arguments, f64)
        except Exception as problem:
            wrong += 1
            print(f"{name}: {type(problem).__name__}: {str(problem)[:2000]}", flush=True)
            continue
        n += 1
        for architecture, of in found.items():
            most = max(most, of["registers"])
            if of["spilled"] or of["f64"]:
                wrong += 1
                print(f"{architecture} {name}: {of}", flush=True)
    print(
        f"{n} kernels linked for {', '.join(ARCHITECTURES)} in {time.time() - start:.0f} s, "
        f"at most {most} registers, {wrong} wrong"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    sys.exit(main("--all" in sys.argv[1:], "--few" in sys.argv[1:], *(numbers or (0, 1))))
