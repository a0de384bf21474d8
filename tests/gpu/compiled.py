"""Machine code of kernels from Numba's compiler and NVIDIA's linker, and arguments of launches."""

from __future__ import annotations

import ctypes
import re
from types import SimpleNamespace
from typing import Any

import numba.cuda.dispatcher
import numpy as np
from cuda.core import Linker, LinkerOptions, ObjectCode
from numba import cuda
from numba.cuda.typing.typeof import Purpose, typeof

from fastbcd.kernels.cuda import target

ARCHITECTURES = ("sm_80", "sm_90")


def signature(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the Numba types of a launch's arguments, with NumPy arrays as arrays of the GPU."""
    return tuple(
        target._array_type(a.dtype.str, a.ndim, "C" if a.flags.c_contiguous else "A")
        if isinstance(a, np.ndarray)
        else typeof(a, Purpose.argument)
        for a in arguments
    )


def intermediate(function: Any, types: tuple[Any, ...]) -> bytes:
    """Return a kernel as LTO-IR for the oldest architecture."""
    oldest = min(ARCHITECTURES)
    capability = int(oldest[3:-1]), int(oldest[-1])
    # Device functions ask the current device for its architecture.
    stand_in = SimpleNamespace(compute_capability=capability)
    numba.cuda.dispatcher.get_current_device = lambda: stand_in
    return cuda.compile(function, types, cc=capability, device=False, abi="numba", output="ltoir")[
        0
    ]


def linked(code: bytes, architecture: str, form: str, **options: Any) -> tuple[bytes, str]:
    """Return LTO-IR linked to ``"cubin"`` or ``"ptx"``, and the log of the linker."""
    settings = LinkerOptions(
        arch=architecture, link_time_optimization=True, ptx=form == "ptx" or None, **options
    )
    linker = Linker(ObjectCode.from_ltoir(code), options=settings)
    return linker.link(form).code, linker.get_info_log()


def ptx_of(code: bytes) -> str:
    """Return the PTX of LTO-IR, linked for the oldest architecture."""
    return linked(code, min(ARCHITECTURES), "ptx")[0].decode(errors="replace")


class Launcher:
    """The part of Numba's launcher that turns arguments into words for the driver."""

    extensions = (target.Arguments,)
    _prepare_args = numba.cuda.dispatcher._Kernel._prepare_args

    def words(self, types: tuple[Any, ...], arguments: tuple[Any, ...]) -> list[Any]:
        """Each word of a launch as an object of ctypes.

        Arrays are laid out here as Numba's launcher lays out arrays of the GPU: no memory's
        owner, no parent, elements, bytes of one, address, shape, strides.
        """
        words: list[Any] = []
        for ty, value in zip(types, arguments, strict=True):
            if isinstance(value, np.ndarray):
                strides = value.strides
                if ty.layout == "C":
                    ends = (*value.shape[1:], 1)
                    strides = tuple(
                        value.itemsize * int(np.prod(ends[k:])) for k in range(value.ndim)
                    )
                start = value.__array_interface__["data"][0]
                words += [0, 0, value.size, value.itemsize, start, *value.shape, *strides]
            else:
                self._prepare_args(ty, value, 0, [], words)
        kinds = {bool: ctypes.c_bool, np.bool_: ctypes.c_bool, int: ctypes.c_int64}
        return [w if isinstance(w, ctypes._SimpleCData) else kinds[type(w)](w) for w in words]

    def sizes(self, types: tuple[Any, ...], arguments: tuple[Any, ...]) -> list[int]:
        """Bytes of each word."""
        return [ctypes.sizeof(word) for word in self.words(types, arguments)]


def parameters(ptx: str) -> list[int]:
    """Bytes of each parameter of the entry point."""
    entry = ptx[ptx.index(".entry") :]
    found = re.findall(r"\.param (?:\.align \d+ )?\.[a-z](\d+) ", entry[: entry.index(")")])
    return [int(bits) // 8 for bits in found]


def check_parameters(ptx: str, types: tuple[Any, ...], arguments: tuple[Any, ...]) -> None:
    """`TypeError` where a launch's words are not the parameters that the kernel reads."""
    read, given = parameters(ptx), Launcher().sizes(types, arguments)
    if read != given:
        raise TypeError(f"parameters of {read} bytes, a launch of {given}")
