"""The maximum of a window for several channels at once, side by side in a vector register.

A window has few channels and few numbers. Compiled from Python, loops over them take longer to
begin and to end than to run, so these functions are written in vector instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastbcd.kernels.plain import PLAIN

_FLAGS = ("reassoc", "contract", "nsz", "arcp")


def maximum_of_window(vector_bytes: int) -> Any:
    """Make the function ``maximum(U, u, V, v, at)`` for channels that fill so many bytes.

    .. code-block:: text

        U[u + c] = max_e V[v + at[e] + c], NaN where one of them is NaN

    Arrays are contiguous and have one dimension, `at` holds integers. Indices are not checked. With
    0 bytes it is for one channel.
    """
    return _plain_maximum(vector_bytes) if PLAIN else _compiled_maximum(vector_bytes)


def spread_over_window(vector_bytes: int) -> Any:
    """Make the function ``spread(D, d, R, r, V, v, at, scale, keep)``, as `maximum_of_window`.

    .. code-block:: text

        D[d + at[e] + c] = (scale R[r + c] if e is the first maximum of V[v + at[e] + c] else 0)
                           + keep D[d + at[e] + c]

    With ``keep`` 0 the old D has no effect, even if it is NaN. A window with NaN has no maximum.
    """
    return _plain_spread(vector_bytes) if PLAIN else _compiled_spread(vector_bytes)


def _channels(array: Any, vector_bytes: int) -> Any:
    return np.arange(max(vector_bytes // array.itemsize, 1))


def _plain_maximum(vector_bytes: int) -> Any:
    def maximum(U, u, V, v, at):
        c = _channels(U, vector_bytes)
        U[u + c] = V[v + at[:, None] + c].max(axis=0)

    return maximum


def _plain_spread(vector_bytes: int) -> Any:
    def spread(D, d, R, r, V, v, at, scale, keep):
        c = _channels(D, vector_bytes)
        window = V[v + at[:, None] + c]
        largest = window == window.max(axis=0)
        first = largest & (largest.cumsum(axis=0) == 1)
        share = np.where(first, scale * R[r + c], D.dtype.type(0))
        to = d + at[:, None] + c
        D[to] = share if keep == 0 else share + keep * D[to]

    return spread


class _Code:
    """Writes instructions on vectors of `vector_bytes`, or on single numbers for 0."""

    def __init__(self, context: Any, builder: Any, dtype: Any, vector_bytes: int) -> None:
        self.context, self.builder = context, builder
        self.number = context.get_data_type(dtype)
        self.size = context.get_abi_sizeof(self.number)
        self.lanes = vector_bytes // self.size
        self.type = ir.VectorType(self.number, self.lanes) if vector_bytes else self.number

    def start(self, typ: Any, array: Any, offset: Any) -> Any:
        """Return the address of element `offset` of an array."""
        data = self.context.make_array(typ)(self.context, self.builder, array).data
        return self.builder.gep(data, [offset])

    def elements(self, start: Any, offset: Any) -> Any:
        """Return the address of the vector `offset` elements behind `start`."""
        place = self.builder.gep(start, [offset])
        return self.builder.bitcast(place, self.type.as_pointer())

    def load(self, place: Any) -> Any:
        value = self.builder.load(place)
        value.align = self.size
        return value

    def store(self, value: Any, place: Any) -> None:
        self.builder.store(value, place).align = self.size

    def everywhere(self, number: Any) -> Any:
        """Return a vector of copies of a number."""
        if not self.lanes:
            return number
        undefined, zero = ir.Constant(self.type, ir.Undefined), ir.IntType(32)(0)
        one = self.builder.insert_element(undefined, number, zero)
        order = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, undefined, order)

    def maximum(self, V: Any, table: Any, count: Any) -> Any:
        """Return the maximum of the vectors at ``V + table[e]``, e < count; NaN where one is."""
        builder = self.builder
        first = self.load(self.elements(V, builder.load(table)))
        largest = cgutils.alloca_once_value(builder, first)
        with cgutils.for_range(builder, count, start=count.type(1)) as loop:
            offset = builder.load(builder.gep(table, [loop.index]))
            value, old = self.load(self.elements(V, offset)), builder.load(largest)
            # A comparison that is "unordered" holds for NaN, so NaN replaces a number, and no
            # number replaces NaN.
            larger = builder.fcmp_unordered(">", value, old)
            is_number = builder.fcmp_ordered("ord", old, old)
            builder.store(builder.select(builder.and_(larger, is_number), value, old), largest)
        return builder.load(largest)


def _check(arrays: Any, at: Any) -> None:
    if any(array.dtype != arrays[0].dtype for array in arrays) or not arrays[0].mutable:
        raise TypingError("a window needs arrays of one type")
    if at.dtype != types.intp:
        raise TypingError("a window needs offsets of the type intp")


def _compiled_maximum(vector_bytes: int) -> Any:
    @intrinsic
    def maximum(typingctx, U, u, V, v, at):
        _check((U, V), at)

        def codegen(context, builder, signature, values):
            U_, u_, V_, v_, at_ = values
            code = _Code(context, builder, U.dtype, vector_bytes)
            offsets = context.make_array(at)(context, builder, at_)
            count = cgutils.unpack_tuple(builder, offsets.shape, 1)[0]
            largest = code.maximum(code.start(V, V_, v_), offsets.data, count)
            code.store(largest, code.elements(code.start(U, U_, u_), count.type(0)))
            return context.get_dummy_value()

        return types.void(U, types.intp, V, types.intp, at), codegen

    return maximum


def _compiled_spread(vector_bytes: int) -> Any:
    @intrinsic
    def spread(typingctx, D, d, R, r, V, v, at, scale, keep):
        _check((D, R, V), at)

        def codegen(context, builder, signature, values):
            D_, d_, R_, r_, V_, v_, at_, scale_, keep_ = values
            code = _Code(context, builder, D.dtype, vector_bytes)
            offsets = context.make_array(at)(context, builder, at_)
            count = cgutils.unpack_tuple(builder, offsets.shape, 1)[0]
            to, of = code.start(D, D_, d_), code.start(V, V_, v_)
            largest = code.maximum(of, offsets.data, count)
            zero = ir.Constant(code.type, None)
            slopes = code.load(code.elements(code.start(R, R_, r_), count.type(0)))
            # What the maximum gets, and 0 after it has got it.
            rest = cgutils.alloca_once_value(
                builder, builder.fmul(code.everywhere(scale_), slopes, flags=_FLAGS)
            )
            factor = code.everywhere(keep_)
            forgets = builder.fcmp_ordered("==", keep_, keep_.type(0.0))
            with cgutils.for_range(builder, count) as loop:
                offset = builder.load(builder.gep(offsets.data, [loop.index]))
                place, share = code.elements(to, offset), builder.load(rest)
                value = code.load(code.elements(of, offset))
                chosen = builder.fcmp_ordered(">=", value, largest)
                given = builder.select(chosen, share, zero)
                builder.store(builder.select(chosen, zero, share), rest)
                old = builder.fmul(factor, code.load(place), flags=_FLAGS)
                old = builder.select(forgets, zero, old)
                code.store(builder.fadd(given, old, flags=_FLAGS), place)
            return context.get_dummy_value()

        i, number = types.intp, D.dtype
        return types.void(D, i, R, i, V, i, at, number, number), codegen

    return spread
