"""Products, QR, SVD and eigenvectors of matrices, from Python: with one thread a call.

All but eigenvectors are in float64; those of a float32 matrix are in float32.

The results are those of NumPy, whose own functions use the threads of its BLAS. Their number
changes the last bits, and a fork during a call may never end. The routines here are those of
`fastbcd.kernels.library`.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.kernels.library import LIBRARY

Matrix = NDArray[np.float64]


def _call(name: str, *arguments: Any) -> None:
    """Call Fortran routine `name` with letters, integers, floats and arrays, all by reference."""
    held = [_by_reference(argument) for argument in arguments]
    LIBRARY.function(name)(*(address for _, address in held))


def _by_reference(argument: Any) -> tuple[Any, int]:
    """The argument as an object in memory, and its address."""
    if isinstance(argument, np.ndarray):
        return argument, argument.ctypes.data
    value: Any
    if isinstance(argument, str):
        value = ctypes.c_char(argument.encode())
    else:
        value = (ctypes.c_int if isinstance(argument, int) else ctypes.c_double)(argument)
    return value, ctypes.addressof(value)


def _check(info: Any, name: str) -> None:
    if info[0] != 0:
        raise np.linalg.LinAlgError(f"{name} reports {info[0]}")


def times(A: Matrix, B: Matrix) -> Matrix:
    """``A B``; A (m, k), B (k, n)."""
    A, (flip_A, lda) = _in_memory(A)
    B, (flip_B, ldb) = _in_memory(B)
    (m, k), n = A.shape, B.shape[1]
    out = np.zeros((m, n))
    if out.size == 0 or k == 0:
        return out
    # To Fortran every matrix here is its transpose. Products with a vector use gemv, as NumPy's
    # do: its sums have other bits than those of gemm.
    if n == 1:
        shape = ("N", m, k) if flip_A else ("T", k, m)
        _call("dgemv", *shape, 1.0, A, lda, B, 1, 0.0, out, 1)
    elif m == 1:
        shape = ("T", k, n) if flip_B else ("N", n, k)
        _call("dgemv", *shape, 1.0, B, ldb, A, 1, 0.0, out, 1)
    else:
        flips = ("T" if flip_B else "N", "T" if flip_A else "N")
        _call("dgemm", *flips, n, m, k, 1.0, B, ldb, A, lda, 0.0, out, n)
    return out


def _in_memory(A: Matrix) -> tuple[Matrix, tuple[bool, int]]:
    """A as a contiguous array, True if its columns are contiguous, and its leading dimension."""
    A = np.asarray(A, np.float64)
    if A.flags.f_contiguous and not A.flags.c_contiguous:
        return A, (True, len(A))
    return np.ascontiguousarray(A), (False, A.shape[1])


def qr(A: Matrix) -> tuple[Matrix, Matrix]:
    """``A = Q R``, Q (m, n) with orthonormal columns, R (n, n) upper triangular; m >= n."""
    m, n = A.shape
    if n == 0:
        return np.zeros((m, 0)), np.zeros((0, 0))
    Q, tau = np.array(A, np.float64, order="F"), np.empty(n)
    _with_work("dgeqrf", m, n, Q, m, tau)
    R = np.triu(Q[:n])
    _with_work("dorgqr", m, n, n, Q, m, tau)
    return np.ascontiguousarray(Q), R


def svd(A: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """``A = U diag(s) V^T``: U, s (descending) and V^T; A (n, n)."""
    n = len(A)
    U, s, VT = np.empty((n, n), order="F"), np.empty(n), np.empty((n, n), order="F")
    if n:
        iwork = np.empty(8 * n, np.int32)
        copy = np.array(A, np.float64, order="F")
        _with_work("dgesdd", "A", n, n, copy, n, s, U, n, VT, n, after=(iwork,))
    return np.ascontiguousarray(U), s, np.ascontiguousarray(VT)


def eigh(A: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """``A = Q diag(e) Q^T``: eigenvalues e, ascending, and Q; A (n, n) symmetric.

    A matrix of float32 stays float32, which takes half the time for n = 256.
    """
    A = np.asarray(A)
    n, dtype = len(A), np.float32 if A.dtype == np.float32 else np.float64
    e, Q = np.empty(n, dtype), np.array(A, dtype, order="F")
    if n:
        name, size = "ssyevd" if dtype == np.float32 else "dsyevd", 3 + 5 * n
        integers = np.empty(size, np.int32)
        _with_work(name, "V", "U", n, Q, n, e, after=(integers, size), dtype=dtype)
    return e, np.ascontiguousarray(Q)


def _with_work(
    name: str, *arguments: Any, after: tuple[Any, ...] = (), dtype: Any = np.float64
) -> None:
    """Call a routine of LAPACK with the size of work memory of `dtype` that it asks for."""
    size, info = np.empty(1, dtype), np.zeros(1, np.int32)
    _call(name, *arguments, size, -1, *after, info)
    _check(info, name)
    # The next larger number, because float32 may have rounded a large size down.
    work = np.empty(max(1, math.ceil(np.nextafter(size[0], dtype(np.inf)))), dtype)
    _call(name, *arguments, work, len(work), *after, info)
    _check(info, name)
