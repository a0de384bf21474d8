"""Exponential and logarithm as plain arithmetic, so that loops over them vectorise.

``math.exp`` is a call into the C library, one element at a time. Here ``e^x = 2^k e^r`` with
``k`` the integer next to ``x / log 2`` and ``|r| <= log(2) / 2``, where a Taylor polynomial
reaches the precision of the type (degree 7 for float32, 13 for float64).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastbcd.kernels.jit import straight, straight_in_order
from fastbcd.kernels.plain import PLAIN, plain_power_of_two

LOG2 = math.log(2.0)
# log 2 in two parts; the first has so few digits that its product with k is exact.
HIGH_32, LOW_32 = 0.693359375, -2.1219444005469057e-4
HIGH_64, LOW_64 = 0.6931467056274414, 4.749325039031673e-07
# Below these arguments 2^k would leave the normal range; x is clipped to them.
LOWEST_32, LOWEST_64 = -87.0, -708.0


@intrinsic
def _nearest_integer(typingctx: Any, x: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = values[0].type
        if "nvptx" in str(builder.module.triple):
            # NVVM has no llvm.rint; PTX has the instruction.
            bits, register = ("f32", "f") if x == types.float32 else ("f64", "d")
            return builder.asm(
                ir.FunctionType(kind, [kind]),
                f"cvt.rni.{bits}.{bits} $0, $1;",
                f"={register},{register}",
                values,
                side_effect=False,
            )
        function = builder.module.declare_intrinsic("llvm.rint", [kind])
        return builder.call(function, values)

    return x(x), codegen


@intrinsic
def _power_of_two(typingctx: Any, k: Any) -> Any:
    """``2^k`` for an integer k in floating point: its exponent bits."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word = ir.IntType(32)
        exponent = builder.fptosi(values[0], word)
        if k == types.float32:
            bits = builder.shl(builder.add(exponent, word(127)), word(23))
        else:
            long = ir.IntType(64)
            bits = builder.sext(builder.add(exponent, word(1023)), long)
            bits = builder.shl(bits, long(52))
        return builder.bitcast(bits, values[0].type)

    return k(k), codegen


if PLAIN:
    _nearest_integer, _power_of_two = np.rint, plain_power_of_two


@straight_in_order
def exp_and_expm1(x):
    """``(e^x, e^x - 1)`` for x <= 0, both to about one unit in the last place."""
    # max(x, lowest) would be the lowest on a GPU where x is not a number.
    T = type(x)
    if np.finfo(T).eps > 1e-10:
        x = T(LOWEST_32) if x < T(LOWEST_32) else x
        k = _nearest_integer(x * T(1.0 / LOG2))
        r = (x - k * T(HIGH_32)) - k * T(LOW_32)
        p = T(1 / 5040)
    else:
        x = T(LOWEST_64) if x < T(LOWEST_64) else x
        k = _nearest_integer(x * T(1.0 / LOG2))
        r = (x - k * T(HIGH_64)) - k * T(LOW_64)
        p = T(1 / 6227020800)
        p = p * r + T(1 / 479001600)
        p = p * r + T(1 / 39916800)
        p = p * r + T(1 / 3628800)
        p = p * r + T(1 / 362880)
        p = p * r + T(1 / 40320)
        p = p * r + T(1 / 5040)
    p = p * r + T(1 / 720)
    p = p * r + T(1 / 120)
    p = p * r + T(1 / 24)
    p = p * r + T(1 / 6)
    p = p * r + T(1 / 2)
    p = p * r + T(1)
    power, rest = _power_of_two(k), p * r  # e^x = 2^k (1 + rest)
    return power + power * rest, power * rest + (power - T(1))


@straight
def log1p_of_fraction(x):
    """``log(1 + x)`` for x in [0, 1]: series of ``2 artanh(z)``, ``z = x / (2 + x) <= 1/3``."""
    T = type(x)
    z = x / (T(2) + x)
    w = z * z
    if np.finfo(T).eps > 1e-10:
        p = T(1 / 15)
    else:
        p = T(1 / 31)
        p = p * w + T(1 / 29)
        p = p * w + T(1 / 27)
        p = p * w + T(1 / 25)
        p = p * w + T(1 / 23)
        p = p * w + T(1 / 21)
        p = p * w + T(1 / 19)
        p = p * w + T(1 / 17)
        p = p * w + T(1 / 15)
    p = p * w + T(1 / 13)
    p = p * w + T(1 / 11)
    p = p * w + T(1 / 9)
    p = p * w + T(1 / 7)
    p = p * w + T(1 / 5)
    p = p * w + T(1 / 3)
    return T(2) * z + T(2) * z * w * p
