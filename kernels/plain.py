"""Kernels as plain Python where Numba compiles nothing: ``NUMBA_DISABLE_JIT=1``, for debuggers.

Compiled code divides by zero and takes logarithms of zero as the processor does. NumPy's numbers
do the same, but Python's raise. So float arguments become NumPy's, `math` is NumPy's, and NumPy's
warnings are off. BLAS and LAPACK are called by the same pointers as from compiled code.
"""

from __future__ import annotations

import ctypes
import functools
import math as python_math
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import config
from numba.core.errors import TypingError

PLAIN = bool(config.DISABLE_JIT)

NUMPY_MATH = SimpleNamespace(
    exp=np.exp,
    expm1=np.expm1,
    log=np.log,
    log1p=np.log1p,
    sqrt=np.sqrt,
    atanh=np.arctanh,
    isfinite=np.isfinite,
    isinf=np.isinf,
    isnan=np.isnan,
)
# Kernels import this as `math`.
math: Any = NUMPY_MATH if PLAIN else python_math


def plain(function: Any, options: dict[str, Any]) -> Any:
    """Wrap `function`: arithmetic as in compiled code, attributes as of a compiled function."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*map(_as_compiled, arguments), **named)

    call.py_func = function  # type: ignore[attr-defined]
    call.targetoptions = options  # type: ignore[attr-defined]
    return call


def _as_compiled(argument: Any) -> Any:
    return np.float64(argument) if type(argument) is float else argument


def plain_routine(name: str, pointer: ctypes.c_void_p) -> Any:
    """Make a Python function of a tuple of arguments that calls routine `name` at `pointer`."""
    element = {"s": np.float32, "d": np.float64}[name[0]]

    def call(arguments: Any) -> None:
        # Fortran takes scalars by reference: arrays of one element, kept alive during the call.
        held = [np.asarray(argument) for argument in arguments]
        for array in held:
            if array.ndim > 0 and array.dtype not in (element, np.int32):
                raise TypingError(
                    f"{name} needs arrays of {np.dtype(element)}, got one of {array.dtype}"
                )
        kinds = [ctypes.c_void_p] * len(held)
        address = pointer.value or 0
        ctypes.CFUNCTYPE(None, *kinds)(address)(*(array.ctypes.data for array in held))

    return call


def plain_by_dtype(single: Any, double: Any) -> Any:
    """Choose `single` or `double` by the type of `out`; refuse arrays that BLAS would misread."""

    def call(out: Any, arguments: Any) -> None:
        arrays = [argument for argument in arguments if getattr(argument, "ndim", 0)]
        if any(array.dtype != out.dtype or array.flags.fnc for array in arrays):
            raise TypingError("arrays must have one dtype and contiguous rows (C order)")
        if out.dtype not in (np.float32, np.float64):
            raise TypingError(f"arrays must be float32 or float64, not {out.dtype}")
        if not out.flags.writeable:
            raise TypingError("out is read-only")
        (single if out.dtype == np.float32 else double)(arguments)

    return call


def plain_power_of_two(k: Any) -> Any:
    """``2^k`` for an integer k in floating point; NaN where k is NaN."""
    return np.ldexp(type(k)(1), int(k)) if k == k else k
