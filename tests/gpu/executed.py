"""The machine code of the GPU's kernels, run on the processor for tests without a card.

Each launch of `fastbcd.kernels.cuda` compiles the kernel as on a card, for the types of its
arguments, links it to PTX, translates that to C (`ptx_to_c`) and calls it on NumPy arrays, with the
grid, blocks and words that the driver gets. It does not show what ptxas and the card decide:
scheduling and speed.

Compiled C is kept in the folder FASTBCD_PTX_CACHE, or until the process ends.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from compiled import Launcher, check_parameters, intermediate, ptx_of, signature
from ptx_to_c import translate

from fastbcd.kernels.cuda import target

HERE = Path(__file__).parent
MACHINE = HERE / "ptx_machine.h"
# The compiler fuses and reorders nothing, because the code says what is fused; integers wrap.
FLAGS = [
    "-O1", "-march=native", "-ffp-contract=off", "-fno-strict-aliasing", "-fwrapv",
    "-fno-math-errno", "-fPIC", "-shared", "-w", f"-I{HERE}",
]  # fmt: skip


class CardError(Exception):
    """A kernel did something that a card forbids, or whose result is undefined there."""


class _Array(ctypes.Structure):
    _fields_ = (
        *((n, ctypes.c_uint64) for n in ("start", "rows", "width", "stride", "is_flag", "grain")),
        ("shadow", ctypes.c_void_p),
    )


class _Launch(ctypes.Structure):
    _fields_ = (
        ("words", ctypes.c_void_p),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("order", ctypes.c_uint32),
        ("n_arrays", ctypes.c_uint32),
        ("arrays", ctypes.c_void_p),
        ("message", ctypes.c_char_p),
    )


SHADOW = 20
"""Bytes of C's ``struct shadow``."""


@cache
def _folder() -> Path:
    named = os.environ.get("FASTBCD_PTX_CACHE")
    if named:
        Path(named).mkdir(parents=True, exist_ok=True)
        return Path(named)
    made = tempfile.mkdtemp(prefix="fastbcd-ptx-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def _library(code: str, checked: bool) -> Any:
    """Compile C and load it."""
    flags = [*FLAGS, *(["-DCHECKED"] if checked else [])]
    digest = hashlib.sha256("\0".join([*flags, MACHINE.read_text(), code]).encode()).hexdigest()
    library = _folder() / f"{digest[:32]}.so"
    if not library.exists():
        source, made = (library.with_suffix(f".{os.getpid()}.{s}") for s in ("c", "so"))
        source.write_text(code)
        subprocess.run(["gcc", *flags, str(source), "-o", str(made), "-lm"], check=True)
        source.unlink()
        os.replace(made, library)
    loaded = ctypes.CDLL(str(library))
    loaded.launch.argtypes = [ctypes.c_void_p]
    return loaded


_ptx: dict[Any, str] = {}
_libraries: dict[Any, Any] = {}


def ptx(kernel: Any, types: tuple[Any, ...]) -> str:
    """Return the PTX of a kernel for these types; each is compiled once."""
    key = kernel.py_func, types
    if key not in _ptx:
        _ptx[key] = ptx_of(intermediate(*key))
    return _ptx[key]


class Card:
    """Runs launches on the processor.

    Parameters
    ----------
    checked : bool
        Find accesses outside of the launch's arrays, and races of threads without a barrier; three
        times slower.
    order : int
        Order of blocks, and of the threads of a block between barriers: 0 as numbered, 1 backwards,
        another number at random.
    """

    def __init__(self, checked: bool = False, order: int = 0) -> None:
        self.checked, self.order = checked, order
        self.launches: list[str] = []
        """The names of the kernels that ran."""

    def launch(self, kernel: Any, grid: Any, block: Any, arguments: tuple[Any, ...]) -> None:
        """Replace `fastbcd.kernels.cuda.target._launch`; `CardError` names the kernel."""
        types = signature(arguments)
        name = kernel.py_func.__name__
        self.launches.append(name.strip("_"))
        key = kernel.py_func, types, self.checked
        if key not in _libraries:
            check_parameters(ptx(kernel, types), types, arguments)
            _libraries[key] = _library(translate(ptx(kernel, types)), self.checked)
        words = Launcher().words(types, arguments)
        addresses = (ctypes.c_void_p * len(words))(*map(ctypes.addressof, words))
        message = ctypes.create_string_buffer(400)
        arrays, held = self._arrays(arguments)
        launch = _Launch(
            ctypes.addressof(addresses),
            _extent(grid),
            _extent(block),
            self.order,
            len(arrays),
            ctypes.addressof(arrays),
            ctypes.cast(message, ctypes.c_char_p),
        )
        if _libraries[key].launch(ctypes.addressof(launch)):
            raise CardError(f"{name}: {message.value.decode()}")
        del held

    def _arrays(self, arguments: tuple[Any, ...]) -> tuple[Any, list[Any]]:
        """Return the arrays of a kernel, with shadows that record the threads at each element."""
        given = [a for a in arguments if isinstance(a, np.ndarray) and a.size]
        if not self.checked:
            given = []
        arrays, held = (_Array * len(given))(), []
        shadows: dict[int, Any] = {}
        for one, a in zip(arrays, given, strict=True):
            one.start = a.__array_interface__["data"][0]
            one.rows, one.width = 1, a.nbytes
            if not a.flags.c_contiguous:
                assert a.ndim == 2
                assert a.shape[1] == 1 or a.strides[1] == a.itemsize
                one.rows, one.width = a.shape[0], a.shape[1] * a.itemsize
            one.stride = a.strides[0] if one.rows > 1 else one.width
            one.is_flag = a.dtype == np.int32
            one.grain = 2 if a.itemsize == 2 else 4
            size = one.rows * one.stride // one.grain + 1
            # Two arguments may be one array.
            if one.start not in shadows or len(shadows[one.start]) < size * SHADOW:
                shadows[one.start] = np.zeros(size * SHADOW, np.uint8)
            one.shadow = shadows[one.start].ctypes.data
            held.append(shadows[one.start])
        return arrays, held

    @contextmanager
    def running(self) -> Iterator[Card]:
        """A context in which all kernels run here."""
        former = target._launch, target.cuda.external_stream
        target._launch, target.cuda.external_stream = self.launch, lambda stream: stream
        token = target._current.set(target.Queue(0, unwritten))
        try:
            yield self
        finally:
            target._current.reset(token)
            target._launch, target.cuda.external_stream = former


def _extent(size: Any) -> Any:
    sizes = size if isinstance(size, tuple) else (size,)
    return (ctypes.c_uint32 * 3)(*sizes, *[1] * (3 - len(sizes)))


def unwritten(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return new memory full of NaN, so that a read before a write shows."""
    array = np.zeros(shape, dtype)
    if array.dtype.kind == "f":
        array.fill(np.nan)
    return array
