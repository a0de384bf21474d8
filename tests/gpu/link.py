"""Compile and link kernels of the GPU without one: ``python tests/gpu/link.py [--all] [K N]``.

Launches are recorded (`fastbcd.kernels.cuda.target.record`): of every case in `cases` that is not
rare (`--all`: of every case), so that each kernel is seen with each formula. Each is compiled
once, to LTO-IR for the oldest architecture, and linked for all; the linker's ptxas reports
registers and spills, and its PTX shows float64 arithmetic and parameters. What must hold: it
links, nothing spills, its parameters are the words that a launch hands over (Numba's launcher is
asked, but for arrays), and a float32 kernel that is not float64 by intention (`Case.f64`) has no
float64 instruction but loads and conversions of parameters. With K N the kernels K, K + N, ...
alone.
"""

from __future__ import annotations

import ctypes
import itertools
import re
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numba.cuda.dispatcher
import numpy as np
from agreement import arguments_of
from cases import cases, is_rare
from cuda.core import Linker, LinkerOptions, ObjectCode
from numba import cuda
from numba.cuda.typing.typeof import Purpose, typeof

import fastbcd.kernels.cuda as kernels
from fastbcd.kernels.cuda import target

ARCHITECTURES = ("sm_80", "sm_90")
# What a float64 parameter of a float32 kernel needs: to be loaded, and rounded.
HARMLESS = re.compile(r"\.param|\.reg|^\s*(ld\.param|cvt\.(rn\.)?f32\.f64|mov\.f64)")


def signature(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Numba types of a launch's arguments."""
    return tuple(typeof(argument, Purpose.argument) for argument in arguments)


def recorded(everything: bool) -> Iterator[tuple[str, bool, Any, tuple[Any, ...], tuple[Any, ...]]]:
    """Name, whether float64 is intended, kernel and signature of every distinct launch."""
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


class Launcher:
    """Numba's launcher, as far as it turns arguments into words for the driver."""

    extensions = (target.Arguments,)
    _prepare_args = numba.cuda.dispatcher._Kernel._prepare_args

    def sizes(self, types: tuple[Any, ...], arguments: tuple[Any, ...]) -> list[int]:
        """Bytes of each word that a launch hands over; an array of the GPU needs one, so that
        of arrays the launcher's words are counted: 5, and 2 for each dimension.
        """
        words: list[Any] = []
        for ty, value in zip(types, arguments, strict=True):
            if isinstance(value, np.ndarray):
                words += [0] * (5 + 2 * value.ndim)
            else:
                self._prepare_args(ty, value, 0, [], words)
        return [
            ctypes.sizeof(w) if isinstance(w, ctypes._SimpleCData) else 1 if type(w) is bool else 8
            for w in words
        ]


def parameters(ptx: str) -> list[int]:
    """Bytes of each parameter of the entry point."""
    entry = ptx[ptx.index(".entry") :]
    found = re.findall(r"\.param (?:\.align \d+ )?\.[a-z](\d+) ", entry[: entry.index(")")])
    return [int(bits) // 8 for bits in found]


_compared: set[Any] = set()


def compiled(kernel: Any, types: tuple[Any, ...]) -> bytes:
    """LTO-IR of a kernel for the oldest architecture."""
    oldest = min(ARCHITECTURES)
    capability = int(oldest[3:-1]), int(oldest[-1])
    # Device functions ask the current device for its architecture.
    stand_in = SimpleNamespace(compute_capability=capability)
    numba.cuda.dispatcher.get_current_device = lambda: stand_in
    code: bytes = cuda.compile(
        kernel.py_func, types, cc=capability, device=False, abi="numba", output="ltoir"
    )[0]
    return code


def linked(code: bytes, architecture: str, form: str, **options: Any) -> tuple[bytes, str]:
    """Machine code ("cubin") or PTX ("ptx") of LTO-IR, and what the linker said."""
    settings = LinkerOptions(arch=architecture, link_time_optimization=True, **options)
    linker = Linker(ObjectCode.from_ltoir(code), options=settings)
    return linker.link(form).code, linker.get_info_log()


def link(
    kernel: Any, types: tuple[Any, ...], arguments: tuple[Any, ...], f64: bool
) -> dict[str, dict[str, Any]]:
    """By architecture: registers, spilled bytes and float64 instructions of a kernel."""
    code = compiled(kernel, types)
    found = {}
    for architecture in ARCHITECTURES:
        log = linked(code, architecture, "cubin", ptxas_options=["-v"])[1]
        found[architecture] = {
            "registers": int(re.search(r"Used (\d+) registers", log)[1]),
            "spilled": sum(map(int, re.findall(r"(\d+) bytes spill", log))),
            "f64": [],
        }
    if f64 and kernel in _compared:
        return found  # its words do not depend on the formula's kind
    _compared.add(kernel)
    oldest = min(ARCHITECTURES)
    ptx = linked(code, oldest, "ptx", ptx=True)[0].decode(errors="replace")
    if parameters(ptx) != Launcher().sizes(types, arguments):
        raise TypeError(
            f"parameters of {parameters(ptx)} bytes, a launch of "
            f"{Launcher().sizes(types, arguments)}"
        )
    if not f64:
        lines = [line.strip() for line in ptx.splitlines() if ".f64" in line]
        found[oldest]["f64"] = [line for line in lines if not HARMLESS.search(line)]
    return found


def main(everything: bool, share: int, shares: int) -> int:
    """Print what was linked; 1 where something is wrong. Of `shares` processes this is `share`."""
    start, wrong, n, most = time.time(), 0, 0, 0
    for name, f64, kernel, types, arguments in itertools.islice(
        recorded(everything), share, None, shares
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
    sys.exit(main("--all" in sys.argv[1:], *(numbers or (0, 1))))
