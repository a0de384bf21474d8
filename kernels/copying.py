"""A copy of contiguous elements by the C library's routine, which is faster than a short loop."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastbcd.kernels.plain import PLAIN


def _plain_copy(out: Any, i: int, j: int, A: Any, k: int, l: int, n: int) -> None:
    out[i, j : j + n] = A[k, l : l + n]


@intrinsic
def _compiled_copy(typingctx, out, i, j, A, k, l, n):
    if out.dtype != A.dtype or "F" in (out.layout, A.layout) or not out.mutable:
        raise TypingError("a copy needs two arrays of one type with contiguous rows")

    def codegen(context, builder, signature, values):
        size = context.get_abi_sizeof(context.get_value_type(out.dtype))

        def address(typ, value, row, column):
            array = context.make_array(typ)(context, builder, value)
            to_row = builder.mul(row, cgutils.unpack_tuple(builder, array.strides, 2)[0])
            to_column = builder.mul(column, column.type(size))
            start = builder.ptrtoint(array.data, row.type)
            return builder.inttoptr(
                builder.add(start, builder.add(to_row, to_column)), array.data.type
            )

        target, source = address(out, *values[:3]), address(A, *values[3:6])
        cgutils.raw_memcpy(builder, target, source, values[6], size)
        return context.get_dummy_value()

    integers = (types.intp,) * 2
    return types.void(out, *integers, A, *integers, types.intp), codegen


# ``copy_run(out, i, j, A, k, l, n)``: out[i, j:j+n] = A[k, l:l+n]. Rows are contiguous.
copy_run: Any = _plain_copy if PLAIN else _compiled_copy
