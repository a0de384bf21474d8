"""A tile of a product of two bfloat16 matrices, whose sums stay in the processor's registers.

Processors with AVX512-BF16 multiply two pairs of bfloat16 numbers in each lane of a vector
register, and add both products to a float32 number. So a product has up to twice (Zen 4) or four
times (Zen 5) the speed of float32. Numbers below 1.2e-38 count as 0 in these instructions.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastbcd.kernels.plain import PLAIN

AVAILABLE = not PLAIN and bool(binding.get_host_cpu_features().get("avx512bf16"))
# A tile of sums has ROWS rows and VECTORS registers of LANES numbers. With a number of each row and
# a row of the right factor they must fit into 32 registers: with more, the time doubled.
ROWS, VECTORS, LANES = 8, 2, 16
COLUMNS = VECTORS * LANES


class _BFloat(ir.Type):
    """LLVM's type of a bfloat16 number, which llvmlite does not have."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_INDEX = ir.IntType(64)
_NUMBERS = ir.VectorType(ir.FloatType(), LANES)
_WORDS = ir.VectorType(ir.IntType(32), LANES)
_BITS = ir.VectorType(ir.IntType(16), LANES)
_HALF = ir.VectorType(_BFloat(), LANES)
_HALVES = ir.VectorType(_BFloat(), 2 * LANES)


def _at(context: Any, builder: Any, array: tuple[Any, Any], offset: Any) -> Any:
    """Return a pointer to an element of `array`, its type and value."""
    typ, value = array
    return builder.gep(context.make_array(typ)(context, builder, value).data, [offset])


def _vector(builder: Any, start: Any, offset: int, kind: Any) -> Any:
    """Return a pointer to the vector `offset` elements behind `start`."""
    return builder.bitcast(builder.gep(start, [_INDEX(offset)]), kind.as_pointer())


def _load(builder: Any, place: Any) -> Any:
    value = builder.load(place)
    value.align = 4
    return value


def _store(builder: Any, value: Any, place: Any) -> None:
    builder.store(value, place).align = 4


def _call(builder: Any, name: str, result: Any, arguments: list[Any], bits: int = 512) -> Any:
    """Call an instruction of AVX512-BF16 by LLVM's name for it."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    name = f"llvm.x86.avx512bf16.{name}.{bits}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def add_products_of_pairs(builder: Any, sums: Any, one: Any, other: Any) -> Any:
    """Return ``sums + one other`` for a vector of sums and two of pairs, as words."""
    lanes = sums.type.count
    halves = ir.VectorType(_BFloat(), 2 * lanes)
    factors = [builder.bitcast(words, halves) for words in (one, other)]
    return _call(builder, "dpbf16ps", sums.type, [sums, *factors], 32 * lanes)


@intrinsic
def tile(typingctx, out, o, left, a, row, right, b, pairs, goes_on):
    """``out[i, j] (+)= sum_t left[i, t] right[t, j]`` of pairs, for ROWS x COLUMNS numbers.

    `out`, `left` and `right` are arrays, o, a and b the elements before the first one; rows of
    `left` are `row` elements apart, those of `out` and `right` COLUMNS. With `goes_on` the sums
    are added to `out`.
    """
    if out.dtype != types.float32 or {left.dtype, right.dtype} != {types.uint32}:
        raise TypingError("a tile needs float32 sums and uint32 pairs")

    def codegen(context, builder, signature, values):
        out_, o_, left_, a_, row_, right_, b_, pairs_, goes_on_ = values
        target = _at(context, builder, (signature.args[0], out_), o_)
        rows = [
            _at(context, builder, (signature.args[2], left_), builder.add(a_, offset))
            for offset in (builder.mul(_INDEX(i), row_) for i in range(ROWS))
        ]
        of_right = _at(context, builder, (signature.args[5], right_), b_)
        sums = {
            (i, j): cgutils.alloca_once(builder, _NUMBERS)
            for i in range(ROWS)
            for j in range(VECTORS)
        }
        places = {
            (i, j): _vector(builder, target, i * COLUMNS + j * LANES, _NUMBERS) for i, j in sums
        }
        with builder.if_else(goes_on_) as (before, nothing):
            with before:
                for ij, total in sums.items():
                    builder.store(_load(builder, places[ij]), total)
            with nothing:
                for total in sums.values():
                    builder.store(ir.Constant(_NUMBERS, [0.0] * LANES), total)
        undefined, all_lanes = ir.Constant(_WORDS, ir.Undefined), ir.Constant(_WORDS, [0] * LANES)
        with cgutils.for_range(builder, pairs_) as loop:
            line = builder.gep(of_right, [builder.mul(loop.index, _INDEX(COLUMNS))])
            columns = [
                builder.bitcast(_load(builder, _vector(builder, line, j * LANES, _WORDS)), _HALVES)
                for j in range(VECTORS)
            ]
            for i in range(ROWS):
                pair = builder.load(builder.gep(rows[i], [loop.index]))
                one = builder.insert_element(undefined, pair, ir.IntType(32)(0))
                spread = builder.shuffle_vector(one, undefined, all_lanes)
                factor = builder.bitcast(spread, _HALVES)
                for j in range(VECTORS):
                    arguments = [builder.load(sums[i, j]), factor, columns[j]]
                    builder.store(_call(builder, "dpbf16ps", _NUMBERS, arguments), sums[i, j])
        for ij, total in sums.items():
            _store(builder, builder.load(total), places[ij])
        return context.get_dummy_value()

    i = types.intp
    return types.void(out, i, left, i, i, right, i, i, types.boolean), codegen


@intrinsic
def pairs_of_row(typingctx, out, o, A, a):
    """``out[o + t]``: the numbers a + 2t and a + 2t + 1 of A, rounded, for LANES pairs."""
    _check_rounding(out, A)

    def codegen(context, builder, signature, values):
        out_, o_, A_, a_ = values
        start = _at(context, builder, (signature.args[2], A_), a_)
        low, high = (_load(builder, _vector(builder, start, k, _NUMBERS)) for k in (0, LANES))
        words = builder.bitcast(_call(builder, "cvtne2ps2bf16", _HALVES, [high, low]), _WORDS)
        target = _at(context, builder, (signature.args[0], out_), o_)
        _store(builder, words, _vector(builder, target, 0, _WORDS))
        return context.get_dummy_value()

    return types.void(out, types.intp, A, types.intp), codegen


@intrinsic
def pairs_of_rows(typingctx, out, o, A, low, high):
    """``out[o + j]``: the numbers low + j and high + j of A, rounded, for LANES pairs."""
    _check_rounding(out, A)

    def codegen(context, builder, signature, values):
        out_, o_, A_, *starts = values

        def rounded(start):
            place = _at(context, builder, (signature.args[2], A_), start)
            numbers = _load(builder, _vector(builder, place, 0, _NUMBERS))
            half = _call(builder, "cvtneps2bf16", _HALF, [numbers])
            return builder.zext(builder.bitcast(half, _BITS), _WORDS)

        low, high = map(rounded, starts)
        words = builder.or_(low, builder.shl(high, ir.Constant(_WORDS, [16] * LANES)))
        target = _at(context, builder, (signature.args[0], out_), o_)
        _store(builder, words, _vector(builder, target, 0, _WORDS))
        return context.get_dummy_value()

    return types.void(out, types.intp, A, types.intp, types.intp), codegen


def _check_rounding(out: Any, A: Any) -> None:
    if out.dtype != types.uint32 or A.dtype != types.float32:
        raise TypingError("rounding needs float32 numbers and uint32 pairs")
