"""A tile of a product of two matrices, whose sums stay in the processor's registers.

Short products, such as those of a convolution, spend much of their time in BLAS on copies of the
factors. `register_tile` reads them where they lie.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastbcd.kernels.plain import PLAIN

_FEATURES = binding.get_host_cpu_features()
# The bytes of a vector register, and the most rows of a tile of two vectors such that its sums,
# two vectors and one number fit into the registers: 32 of them, or 16.
VECTOR_BYTES = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx") else 16
ROWS = 6 if _FEATURES.get("avx") and not _FEATURES.get("avx512f") else 8
# As the other kernels: sums may be reassociated, products contracted; see `fastbcd.kernels.jit`.
_FLAGS = ("reassoc", "contract", "nsz", "arcp")


def register_tile(rows: int, vectors: int) -> Any:
    """Make the function of a tile with `rows` rows and the columns of so many vector registers.

    .. code-block:: text

        out[a, b] = first[a, b] + sum_it x[a, i, t] y[i, t, b],   i < lines, t < length

    It is ``tile(out, o, row_of_out, first, f, row_of_first, X, x, row, line, step, lines, length,
    Y, y, row_of_y)``: each matrix is an array with contiguous rows and the number of elements
    before its first one. Strides are numbers of elements: `x[a, i, t]` lies ``a row + i line +
    t step`` after x, `y[i, t]` ``(i length + t) row_of_y`` after y, rows of `out` and `first`
    `row_of_out` and `row_of_first` apart. Indices are not checked.
    """
    return _plain_tile(rows, vectors) if PLAIN else _compiled_tile(rows, vectors)


def _plain_tile(rows: int, vectors: int) -> Any:
    def tile(
        out, o, row_of_out, first, f, row_of_first, X, x, row, line, step, lines, length, Y, y,
        row_of_y,
    ):  # fmt: skip
        columns = np.arange(vectors * VECTOR_BYTES // out.itemsize)
        a, i, t = np.ogrid[:rows, :lines, :length]
        left = X.ravel()[x + a * row + i * line + t * step].reshape(rows, -1)
        right = Y.ravel()[y + np.arange(lines * length)[:, None] * row_of_y + columns]
        start = f + np.arange(rows)[:, None] * row_of_first + columns
        values = first.ravel()[start] + left @ right
        flat = out.reshape(-1)
        flat[o + np.arange(rows)[:, None] * row_of_out + columns] = values

    return tile


def _compiled_tile(rows: int, vectors: int) -> Any:
    @intrinsic
    def tile(
        typingctx, out, o, row_of_out, first, f, row_of_first, X, x, row, line, step, lines, length,
        Y, y, row_of_y,
    ):  # fmt: skip
        arrays = (out, first, X, Y)
        if any(array.dtype != out.dtype for array in arrays) or not out.mutable:
            raise TypingError("a tile needs arrays of one type")

        def codegen(context, builder, signature, values):
            (out_, o_, row_of_out_, first_, f_, row_of_first_, X_, x_, row_, line_, step_, lines_,
             length_, Y_, y_, row_of_y_) = values  # fmt: skip
            element = context.get_data_type(out.dtype)
            size = context.get_abi_sizeof(element)
            lanes = VECTOR_BYTES // size
            vector = ir.VectorType(element, lanes)
            index, zero = ir.IntType(64), ir.IntType(32)(0)

            def pointer(typ, value):
                return context.make_array(typ)(context, builder, value).data

            def vector_at(start, offset, b):
                place = builder.gep(start, [builder.add(offset, index(b * lanes))])
                return builder.bitcast(place, vector.as_pointer())

            def load(place):
                value = builder.load(place)
                value.align = size
                return value

            def times(number, stride):
                return builder.mul(index(number), stride)

            tile = [(a, b) for a in range(rows) for b in range(vectors)]
            sums = {ab: cgutils.alloca_once(builder, vector) for ab in tile}
            start = pointer(first, first_)
            for a, b in tile:
                offset = builder.add(f_, times(a, row_of_first_))
                builder.store(load(vector_at(start, offset, b)), sums[a, b])
            left, right = pointer(X, X_), pointer(Y, Y_)
            of_x, of_y = cgutils.alloca_once(builder, index), cgutils.alloca_once(builder, index)
            builder.store(y_, of_y)
            with cgutils.for_range(builder, lines_) as lines_loop:
                builder.store(builder.add(x_, builder.mul(lines_loop.index, line_)), of_x)
                with cgutils.for_range(builder, length_):
                    at_x, at_y = builder.load(of_x), builder.load(of_y)
                    y_vectors = [load(vector_at(right, at_y, b)) for b in range(vectors)]
                    for a in range(rows):
                        place = builder.gep(left, [builder.add(at_x, times(a, row_))])
                        undefined = ir.Constant(vector, ir.Undefined)
                        one = builder.insert_element(undefined, builder.load(place), zero)
                        all_lanes = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
                        x_vector = builder.shuffle_vector(one, undefined, all_lanes)
                        for b in range(vectors):
                            product = builder.fmul(x_vector, y_vectors[b], flags=_FLAGS)
                            total = builder.fadd(product, builder.load(sums[a, b]), flags=_FLAGS)
                            builder.store(total, sums[a, b])
                    builder.store(builder.add(at_y, row_of_y_), of_y)
                    builder.store(builder.add(at_x, step_), of_x)
            target = pointer(out, out_)
            for a, b in tile:
                offset = builder.add(o_, times(a, row_of_out_))
                builder.store(builder.load(sums[a, b]), vector_at(target, offset, b)).align = size
            return context.get_dummy_value()

        i = types.intp
        return types.void(out, i, i, first, i, i, X, i, i, i, i, i, i, Y, i, i), codegen

    return tile
