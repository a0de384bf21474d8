"""Row-major BLAS and LAPACK for compiled code: products, symmetric updates, Cholesky.

The routines are those of `fastbcd.kernels.library`: SciPy's, one thread a call. LLVM knows
the variable that holds a routine's address by a fixed symbol name. So kernels that call the
routine can be cached on disk, which a pointer as a constant would not allow.

All functions take float32 or float64 arrays with contiguous rows (a view such
as ``W[:, :-1]`` is fine; others raise ValueError), allocate nothing and write their first
argument. Like BLAS itself, they do not check shapes.
A row-major array is, to Fortran, its transpose: the arguments are swapped
accordingly, and the lower triangle here is Fortran's upper one.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload

from fastbcd.kernels.jit import kernel
from fastbcd.kernels.library import LIBRARY
from fastbcd.kernels.plain import PLAIN, plain_by_dtype, plain_routine

_BYTE_POINTER = ir.IntType(8).as_pointer()


def _routine(name: str) -> Any:
    """Make an intrinsic that calls Fortran routine `name` with a tuple of scalars and arrays."""
    slot, symbol = LIBRARY.slots[name], f"fastbcd_at_{name}"
    if PLAIN:
        return plain_routine(name, slot)
    binding.add_symbol(symbol, ctypes.addressof(slot))
    # Cached machine code from before there were slots refers to the routine itself.
    binding.add_symbol(f"fastbcd_{name}", slot.value)

    element = {"s": types.float32, "d": types.float64}[name[0]]

    @intrinsic
    def call(typingctx, arguments):
        for typ in arguments.types:
            if isinstance(typ, types.Array) and typ.dtype not in (element, types.int32):
                raise TypingError(f"{name} needs arrays of {element}, got one of {typ.dtype}")

        def codegen(context, builder, signature, values):
            pointers = []
            for i, typ in enumerate(arguments.types):
                value = builder.extract_value(values[0], i)
                if isinstance(typ, types.Array):
                    pointer = context.make_array(typ)(context, builder, value).data
                else:  # Fortran takes scalars by reference
                    pointer = cgutils.alloca_once_value(builder, value)
                pointers.append(builder.bitcast(pointer, _BYTE_POINTER))
            function_type = ir.FunctionType(ir.VoidType(), [_BYTE_POINTER] * len(pointers))
            place = builder.module.globals.get(symbol)
            if place is None:
                place = ir.GlobalVariable(builder.module, function_type.as_pointer(), symbol)
            builder.call(builder.load(place), pointers)
            return context.get_dummy_value()

        return types.void(arguments), codegen

    return call


def _by_dtype(single: Any, double: Any) -> Any:
    """Make a function that calls `single` or `double` by the element type of `out`."""
    if PLAIN:
        return plain_by_dtype(single, double)

    def call(out, arguments):
        raise NotImplementedError("only inside compiled code")

    @overload(call)
    def _call(out, arguments):
        arrays = [typ for typ in arguments.types if isinstance(typ, types.Array)]
        if any(typ.dtype != out.dtype or typ.layout == "F" for typ in arrays):
            raise TypingError("arrays must have one dtype and contiguous rows (C order)")
        if out.dtype not in (types.float32, types.float64):
            raise TypingError(f"arrays must be float32 or float64, not {out.dtype}")
        if not out.mutable:
            raise TypingError("out is read-only")
        routine = single if out.dtype == types.float32 else double

        def implementation(out, arguments):
            routine(arguments)

        return implementation

    return call


_gemm = _by_dtype(_routine("sgemm"), _routine("dgemm"))
_syrk = _by_dtype(_routine("ssyrk"), _routine("dsyrk"))
_dtrsm = _routine("dtrsm")
_dpotrf = _routine("dpotrf")
_dpotrs = _routine("dpotrs")
_dpocon = _routine("dpocon")
_dsyevd = _routine("dsyevd")

_N = np.int8(ord("N"))
_T = np.int8(ord("T"))
_U = np.int8(ord("U"))
_R = np.int8(ord("R"))
_V = np.int8(ord("V"))


@kernel
def leading(A):
    """Fortran's leading dimension: elements from one row of `A` to the next, at least 1."""
    # NumPy gives an array without rows any strides.
    if A.shape[0] > 0 and A.shape[1] > 1 and A.strides[1] != A.itemsize:
        raise ValueError("rows must be contiguous: use numpy.ascontiguousarray")
    if A.shape[0] > 1 and A.strides[0] < A.shape[1] * A.itemsize:
        raise ValueError("rows overlap or run backwards: use numpy.ascontiguousarray")
    return np.int32(max(A.strides[0] // A.itemsize, A.shape[1], 1))


@kernel
def product(out, A, B, scale, keep):
    """``out = scale A B + keep out``; A (m, k), B (k, n), out (m, n). gemm."""
    T = out.dtype.type
    m, n, k = np.int32(out.shape[0]), np.int32(out.shape[1]), np.int32(A.shape[1])
    _gemm(
        out,
        (_N, _N, n, m, k, T(scale), B, leading(B), A, leading(A), T(keep), out, leading(out)),
    )


@kernel
def product_transposed(out, A, B, scale, keep):
    """``out = scale A B^T + keep out``; A (m, k), B (n, k), out (m, n). gemm."""
    T = out.dtype.type
    m, n, k = np.int32(out.shape[0]), np.int32(out.shape[1]), np.int32(A.shape[1])
    _gemm(
        out,
        (_T, _N, n, m, k, T(scale), B, leading(B), A, leading(A), T(keep), out, leading(out)),
    )


@kernel
def transposed_product(out, A, B, scale, keep):
    """``out = scale A^T B + keep out``; A (k, m), B (k, n), out (m, n). gemm."""
    T = out.dtype.type
    m, n, k = np.int32(out.shape[0]), np.int32(out.shape[1]), np.int32(A.shape[0])
    _gemm(
        out,
        (_N, _T, n, m, k, T(scale), B, leading(B), A, leading(A), T(keep), out, leading(out)),
    )


@kernel
def gram(out, A, keep):
    """Lower triangle of ``out = A^T A + keep out``; A (k, n), out (n, n). syrk: half the flops."""
    T = out.dtype.type
    n, k = np.int32(out.shape[0]), np.int32(A.shape[0])
    _syrk(out, (_U, _N, n, k, T(1), A, leading(A), T(keep), out, leading(out)))


@kernel
def gram_of_rows(out, A, keep):
    """Lower triangle of ``out = A A^T + keep out``; A (n, k), out (n, n). syrk."""
    T = out.dtype.type
    n, k = np.int32(out.shape[0]), np.int32(A.shape[1])
    _syrk(out, (_U, _T, n, k, T(1), A, leading(A), T(keep), out, leading(out)))


@kernel
def cholesky(A, info):
    """Factor ``A = L L^T`` in its own lower triangle; A (n, n) float64.

    ``info`` (1,) int32 becomes 0, or i > 0 where the leading i x i block is not positive definite.
    """
    n = np.int32(A.shape[0])
    _dpotrf((_U, n, A, leading(A), info))


@kernel
def cholesky_solve(B, L, info):
    """``B = B (L L^T)^-1``, in place; B (m, n), L (n, n) from `cholesky`, float64."""
    n, m = np.int32(L.shape[0]), np.int32(B.shape[0])
    _dpotrs((_U, n, m, L, leading(L), B, leading(B), info))


@kernel
def cholesky_solve_columns(B, L):
    """``B = (L L^T)^-1 B``, in place; L (n, n) from `cholesky`, B (n, m), float64."""
    # Fortran holds B^T (m, n) and L^T, upper: B^T (L L^T)^-1 = B^T U^-1 U^-T with U = L^T.
    n, m = np.int32(L.shape[0]), np.int32(B.shape[1])
    one = np.float64(1.0)
    _dtrsm((_R, _U, _N, _N, m, n, one, L, leading(L), B, leading(B)))
    _dtrsm((_R, _U, _T, _N, m, n, one, L, leading(L), B, leading(B)))


@kernel
def reciprocal_condition(L, norm, work, iwork, info):
    """Estimate of ``1 / cond_1(L L^T)`` from its factor and the 1-norm of ``L L^T``.

    ``work`` (3 n + 1,) float64 receives the estimate in its last element; ``iwork`` (n,) int32.
    """
    n = np.int32(L.shape[0])
    _dpocon((_U, n, L, leading(L), np.float64(norm), work[3 * n :], work, iwork, info))


@kernel
def eigenvectors(A, values, work, iwork, info):
    """Eigen-decompose symmetric A (n, n) float64, lower triangle given, in place.

    Row i of `A` becomes the eigenvector of ``values[i]``, ascending.
    ``work`` (1 + 6 n + 2 n^2,) float64, ``iwork`` (3 + 5 n,) int32.
    """
    n = np.int32(A.shape[0])
    lwork, liwork = np.int32(work.shape[0]), np.int32(iwork.shape[0])
    _dsyevd((_V, _U, n, A, leading(A), values, work, lwork, iwork, liwork, info))
