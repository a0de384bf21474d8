"""A tile of a product of two matrices, whose sums stay in the processor's registers.

Short products, such as those of a convolution, spend much of their time in BLAS on copies of the
factors. `register_tile` reads them where they lie, the left one through a table of offsets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastbcd.kernels.bf16_tile import AVAILABLE, add_products_of_pairs
from fastbcd.kernels.plain import PLAIN

_FEATURES = binding.get_host_cpu_features()
# The bytes of a vector register, and the most rows of a tile of two vectors such that its sums,
# two vectors and one number fit into the registers: 32 of them with AVX-512 or on ARM, 16 with AVX.
VECTOR_BYTES = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx") else 16
ROWS = 6 if _FEATURES.get("avx") and not _FEATURES.get("avx512f") else 8
# As the other kernels: sums may be reassociated, products contracted; see `fastbcd.kernels.jit`.
_FLAGS = ("reassoc", "contract", "nsz", "arcp")


def register_tile(rows: int, vectors: int, vector_bytes: int = VECTOR_BYTES) -> Any:
    """Make the function of a tile with `rows` rows and the columns of so many vectors.

    .. code-block:: text

        out[o + out_at[r + a] + b] = start[a, b] + sum_t X[x + x_at[r + a] + t_at[e + t]]
                                                         Y[y + t row_of_y + b],   t < length

    ``start[a, b]`` is the old number of `out` where `adds`, otherwise ``first[f + b]``.

    X and Y have the type of `out`. Where `fastbcd.kernels.bf16_tile.AVAILABLE` and `out` is
    float32, they may be words: pairs of bfloat16 numbers, whose two products are added.

    It is ``tile(out, o, out_at, adds, first, f, X, x, x_at, r, t_at, e, length, Y, y, row_of_y)``:
    arrays are contiguous and have one dimension, those whose names end with `at` hold integers, and
    single letters are integers. Indices are not checked.
    """
    make = _plain_tile if PLAIN else _compiled_tile
    return make(rows, vectors, vector_bytes)


def _plain_tile(rows: int, vectors: int, vector_bytes: int) -> Any:
    def tile(
        out, o, out_at, adds, first, f, X, x, x_at, r, t_at, e, length, Y, y, row_of_y
    ):  # fmt: skip
        columns = np.arange(vectors * vector_bytes // out.itemsize)
        here = slice(r, r + rows)
        left = X[x + x_at[here, None] + t_at[e : e + length]]
        right = Y[y + np.arange(length)[:, None] * row_of_y + columns]
        to = o + out_at[here, None] + columns
        values = (out[to] if adds else first[f + columns]) + left @ right
        for a in range(rows):  # rows may lie in one place: the last one stays, as in compiled code
            out[to[a]] = values[a]

    return tile


def _compiled_tile(rows: int, vectors: int, vector_bytes: int) -> Any:
    @intrinsic
    def tile(
        typingctx, out, o, out_at, adds, first, f, X, x, x_at, r, t_at, e, length, Y, y, row_of_y
    ):  # fmt: skip
        paired = AVAILABLE and X.dtype == types.uint32 and out.dtype == types.float32
        factor = X.dtype if paired else out.dtype
        if {X.dtype, Y.dtype, first.dtype} != {factor, out.dtype} or not out.mutable:
            raise TypingError("a tile needs arrays of one type")
        if any(array.dtype != types.intp for array in (out_at, x_at, t_at)):
            raise TypingError("a tile needs offsets of the type intp")

        def codegen(context, builder, signature, values):
            (out_, o_, out_at_, adds_, first_, f_, X_, x_, x_at_, r_, t_at_, e_, length_, Y_, y_,
             row_of_y_) = values  # fmt: skip
            element = context.get_data_type(out.dtype)
            size = context.get_abi_sizeof(element)
            lanes = vector_bytes // size
            vector = ir.VectorType(element, lanes)
            factors = ir.VectorType(context.get_data_type(factor), lanes)
            index, zero = ir.IntType(64), ir.IntType(32)(0)

            def pointer(typ, value):
                return context.make_array(typ)(context, builder, value).data

            def vector_at(start, b, kind=vector):
                place = builder.gep(start, [index(b * lanes)])
                return builder.bitcast(place, kind.as_pointer())

            def load(place):
                value = builder.load(place)
                value.align = size
                return value

            def offset_of_row(table, a):
                return builder.load(builder.gep(table, [builder.add(r_, index(a))]))

            def rows_of(array, start, table):
                here = builder.gep(array, [start])
                return [builder.gep(here, [offset_of_row(table, a)]) for a in range(rows)]

            targets = rows_of(pointer(out, out_), o_, pointer(out_at, out_at_))
            lefts = rows_of(pointer(X, X_), x_, pointer(x_at, x_at_))
            tile = [(a, b) for a in range(rows) for b in range(vectors)]
            sums = {ab: cgutils.alloca_once(builder, vector) for ab in tile}
            begin = builder.gep(pointer(first, first_), [f_])
            continues = builder.icmp_signed("!=", adds_, adds_.type(0))
            for a, b in tile:
                source = builder.select(continues, targets[a], begin)
                builder.store(load(vector_at(source, b)), sums[a, b])
            right = cgutils.alloca_once_value(builder, builder.gep(pointer(Y, Y_), [y_]))
            table = builder.gep(pointer(t_at, t_at_), [e_])
            with cgutils.for_range(builder, length_) as loop:
                at_x, at_y = builder.load(builder.gep(table, [loop.index])), builder.load(right)
                y_vectors = [load(vector_at(at_y, b, factors)) for b in range(vectors)]
                for a in range(rows):
                    undefined = ir.Constant(factors, ir.Undefined)
                    number = builder.load(builder.gep(lefts[a], [at_x]))
                    one = builder.insert_element(undefined, number, zero)
                    all_lanes = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
                    x_vector = builder.shuffle_vector(one, undefined, all_lanes)
                    for b in range(vectors):
                        total = builder.load(sums[a, b])
                        if paired:
                            total = add_products_of_pairs(builder, total, x_vector, y_vectors[b])
                        else:
                            product = builder.fmul(x_vector, y_vectors[b], flags=_FLAGS)
                            total = builder.fadd(product, total, flags=_FLAGS)
                        builder.store(total, sums[a, b])
                builder.store(builder.gep(at_y, [row_of_y_]), right)
            for a, b in tile:
                builder.store(builder.load(sums[a, b]), vector_at(targets[a], b)).align = size
            return context.get_dummy_value()

        i, at = types.intp, (out_at, x_at, t_at)
        return types.void(out, i, at[0], i, first, i, X, i, at[1], i, at[2], i, i, Y, i, i), codegen

    return tile
