"""Memory as kernels see it: aligned arrays, and an array's rows as one run of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.plain import PLAIN
from fastbcd.kernels.register_tile import VECTOR_BYTES


@scalar
def aligned_zeros(n, like):
    """Return (n,) zeros of the type of `like`, at an address that suits vector registers."""
    memory = np.zeros(n + VECTOR_BYTES // like.itemsize, like.dtype)
    start = -memory.ctypes.data % VECTOR_BYTES // like.itemsize
    return memory[start : start + n]


def _plain_run(A: Any) -> Any:
    size = (A.shape[0] - 1) * (A.strides[0] // A.itemsize) + A.shape[1] if A.size else 0
    return np.lib.stride_tricks.as_strided(A, (size,), (A.itemsize,))


@intrinsic
def _compiled_run(typingctx, A):
    if A.ndim != 2 or A.layout == "F":
        raise TypingError("a run of memory needs a matrix with contiguous rows")
    run = types.Array(A.dtype, 1, "C", readonly=not A.mutable)

    def codegen(context, builder, signature, values):
        array = context.make_array(A)(context, builder, values[0])
        view = context.make_array(run)(context, builder)
        rows, columns = cgutils.unpack_tuple(builder, array.shape, 2)
        between, _ = cgutils.unpack_tuple(builder, array.strides, 2)
        zero, one = rows.type(0), rows.type(1)
        row = builder.sdiv(between, array.itemsize)
        size = builder.add(builder.mul(builder.sub(rows, one), row), columns)
        numbers = builder.mul(rows, columns)
        size = builder.select(builder.icmp_signed("==", numbers, zero), zero, size)
        context.populate_array(
            view,
            data=array.data,
            shape=[size],
            strides=[array.itemsize],
            itemsize=array.itemsize,
            meminfo=array.meminfo,
            parent=array.parent,
        )
        return impl_ret_borrowed(context, builder, run, view._getvalue())

    return run(A), codegen


# ``run_of(A)``: the memory from the first to the last number of a matrix, whose rows are
# contiguous, as a view of one dimension. Its number i + j leading(A) is A[j, i].
run_of: Any = _plain_run if PLAIN else _compiled_run
