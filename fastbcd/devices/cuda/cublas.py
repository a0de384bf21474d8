"""cuBLAS by its C interface: products and triangular solves of row-major arrays of the GPU.

CuPy's own functions of cuBLAS cannot be captured in a CUDA graph. The handle here has a fixed
workspace. So no call allocates memory, not even in a capture, and a product repeats to the last
bit.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastbcd.devices.cuda.captures import captures

# Values of cuBLAS's enumerations; they are the same in all its versions.
# Types of elements; a uint16 holds the bits of a bfloat16.
KINDS = {"float32": 0, "float64": 1, "uint16": 14}
# Types in which products are added up; TF32 also rounds float32 factors.
ADD_FLOAT32, ADD_FLOAT64, ADD_TF32 = 68, 70, 77
DEFAULT_ALGORITHM = -1
HOST_POINTERS, DEVICE_POINTERS = 0, 1
UPPER, RIGHT, NON_UNIT = 1, 1, 0
# NVIDIA's advice for cards of 2022 and later.
WORKSPACE_BYTES = 32 * 2**20

# Columns in one block of a Gram matrix; blocks above its diagonal are not computed.
GRAM_BLOCK = 512

_INT, _LONG = ctypes.c_int, ctypes.c_longlong
_PLACE, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_PRODUCT = [_PLACE, *[_INT] * 5, _PLACE, _PLACE, _INT, _PLACE, _INT, _PLACE, _PLACE, _INT]
_MATRIX = [_PLACE, _INT, _INT]
_PRODUCT_IN = [_PLACE, *[_INT] * 5, _PLACE, *_MATRIX, *_MATRIX, _PLACE, *_MATRIX, _INT, _INT]
_PARTS = [*_MATRIX, _LONG]
_PRODUCTS = [_PLACE, *[_INT] * 5, _PLACE, *_PARTS, *_PARTS, _PLACE, *_PARTS, *[_INT] * 3]
_GRAM = [_PLACE, *[_INT] * 4, _PLACE, _PLACE, _INT, _PLACE, _PLACE, _INT]
ARGUMENTS: dict[str, list[Any]] = {
    "cublasCreate_v2": [ctypes.POINTER(_PLACE)],
    "cublasDestroy_v2": [_PLACE],
    "cublasSetStream_v2": [_PLACE, _PLACE],
    "cublasSetWorkspace_v2": [_PLACE, _PLACE, _SIZE],
    "cublasSetPointerMode_v2": [_PLACE, _INT],
    "cublasGemmEx": _PRODUCT_IN,
    "cublasGemmStridedBatchedEx": _PRODUCTS,
    "cublasDgemm_v2": _PRODUCT,
    "cublasSsyrk_v2": _GRAM,
    "cublasDsyrk_v2": _GRAM,
    "cublasDtrsm_v2": [_PLACE, *[_INT] * 6, _PLACE, _PLACE, _INT, _PLACE, _INT],
}
"""Types of the arguments of each function; all functions return a status."""


class CuBLAS:
    """A handle of cuBLAS on one stream.

    Parameters
    ----------
    library : ctypes.CDLL
        ``libcublas``.
    stream : int
        Address of the stream of all calls.
    workspace : array of the GPU
        Bytes for cuBLAS, kept as long as the handle.
    array : callable
        ``array(data, dtype)`` copies data to the GPU.
    tf32 : bool
        Float32 products may round their factors to TF32 (11 bits).

    Raises
    ------
    RuntimeError
        A call of cuBLAS, in any method, returns a status other than success.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        stream: int,
        workspace: Any,
        array: Callable[[Any, Any], Any],
        tf32: bool,
    ) -> None:
        self._functions = {name: getattr(library, name) for name in ARGUMENTS}
        for name, types in ARGUMENTS.items():
            self._functions[name].argtypes = types
        self._array, self._add_float32 = array, ADD_TF32 if tf32 else ADD_FLOAT32
        self._constants: dict[tuple[float, np.dtype], Any] = {}
        self._handle = ctypes.c_void_p()
        self._call_plain("cublasCreate_v2", ctypes.byref(self._handle))
        destroy = partial(self._functions["cublasDestroy_v2"], self._handle)
        captures.release_with(self, destroy)  # because it waits for the device
        self._workspace = workspace
        # The workspace comes after the stream, because a new stream resets it.
        self._call("cublasSetStream_v2", stream)
        self._call("cublasSetWorkspace_v2", workspace.data.ptr, workspace.nbytes)

    def _call(self, name: str, *arguments: Any) -> None:
        self._call_plain(name, self._handle, *arguments)

    def _call_plain(self, name: str, *arguments: Any) -> None:
        status = self._functions[name](*arguments)
        if status:
            raise RuntimeError(f"{name} of cuBLAS returned status {status}")

    def gemm(
        self,
        out: Any,
        A: Any,
        B: Any,
        scale: Any,
        keep: float,
        transpose_A: bool,
        transpose_B: bool,
    ) -> None:
        """``out = scale A B + keep out``; see `Library.gemm`.

        With a float32 `out`, A and B may both be bfloat16, as uint16.
        """
        m, n = out.shape
        k = A.shape[0] if transpose_A else A.shape[1]
        if 0 in (m, n):
            return
        # In Fortran's order a row-major array is its transpose: out^T = B^T A^T.
        sizes = int(transpose_B), int(transpose_A), n, m, k
        if hasattr(getattr(scale, "data", None), "ptr"):
            alpha, beta = scale.astype(out.dtype).reshape(1), self._constant(keep, out.dtype)
            self._call("cublasSetPointerMode_v2", DEVICE_POINTERS)
            try:
                self._product(sizes, alpha.data.ptr, B, A, beta.data.ptr, out)
            finally:
                self._call("cublasSetPointerMode_v2", HOST_POINTERS)
            return
        numbers = np.array([scale, keep], out.dtype)
        alpha_at, beta_at = numbers.ctypes.data, numbers.ctypes.data + numbers.itemsize
        self._product(sizes, alpha_at, B, A, beta_at, out)

    def _product(
        self, sizes: tuple[int, ...], alpha: int, B: Any, A: Any, beta: int, out: Any
    ) -> None:
        """Call cuBLAS with matrices in Fortran's order; alpha and beta are addresses."""
        if out.dtype == np.float64:
            at_A, at_B, at_out = ((M.data.ptr, leading(M)) for M in (A, B, out))
            self._call("cublasDgemm_v2", *sizes, alpha, *at_B, *at_A, beta, *at_out)
            return
        compute = self._add_float32 if A.dtype == np.float32 else ADD_FLOAT32
        how = compute, DEFAULT_ALGORITHM
        self._call("cublasGemmEx", *sizes, alpha, *typed(B), *typed(A), beta, *typed(out), *how)

    def _constant(self, value: float, dtype: np.dtype) -> Any:
        key = float(value), dtype
        if key not in self._constants:
            self._constants[key] = self._array(np.array([value]), dtype)
        return self._constants[key]

    def gram(self, out: Any, A: Any, of_rows: bool) -> None:
        """``out = A^T A``, or ``A A^T`` with `of_rows`: the lower triangle, in true float32."""
        n, k = out.shape[0], A.shape[1] if of_rows else A.shape[0]
        name = "cublasSsyrk_v2" if out.dtype == np.float32 else "cublasDsyrk_v2"
        numbers = np.array([1.0, 0.0], out.dtype)
        alpha_at, beta_at = numbers.ctypes.data, numbers.ctypes.data + numbers.itemsize
        at_A, at_out = (A.data.ptr, leading(A)), (out.data.ptr, leading(out))
        self._call(name, UPPER, int(of_rows), n, k, alpha_at, *at_A, beta_at, *at_out)

    def partial_products(self, out: Any, A: Any, B: Any, true_float32: bool = False) -> None:
        """``out_c = A_c^T B_c`` for every part c of the rows of A and B, in one call.

        out (parts, p, q), A (parts m, p), B (parts m, q); A_c has the rows ``c m`` to
        ``(c + 1) m``. With `true_float32` factors are not rounded to TF32. A and B may both be
        bfloat16, as uint16; then their columns beyond p and q are not read.
        """
        parts, p, q = out.shape
        m = len(A) // parts
        compute = ADD_FLOAT64 if out.dtype == np.float64 else ADD_FLOAT32
        if A.dtype == np.float32 and not true_float32:
            compute = self._add_float32
        numbers = np.array([1.0, 0.0], out.dtype)
        alpha_at, beta_at = numbers.ctypes.data, numbers.ctypes.data + numbers.itemsize
        # Matrices, each with the distance from one part to the next. In Fortran's order a row-major
        # array is its transpose: out_c^T = B_c^T A_c.
        at_A, at_B = (*typed(A), m * leading(A)), (*typed(B), m * leading(B))
        at_out = (*typed(out[0]), out.strides[0] // out.dtype.itemsize)
        sizes, how = (0, 1, q, p, m), (parts, compute, DEFAULT_ALGORITHM)
        self._call(
            "cublasGemmStridedBatchedEx", *sizes, alpha_at, *at_B, *at_A, beta_at, *at_out, *how
        )

    def partial_grams(self, out: Any, A: Any) -> None:
        """``out_c = A_c^T A_c`` for every part c of A's rows: lower triangles, in true float32.

        out (parts, d, d), A (parts m, d). Products of blocks on and below the diagonal are used,
        because cuBLAS's call for one triangle has less than half their rate on an H200.
        """
        d = out.shape[1]
        n_blocks = -(-d // GRAM_BLOCK)
        edges = [round(k * d / n_blocks) for k in range(n_blocks + 1)]
        blocks = [slice(start, stop) for start, stop in itertools.pairwise(edges)]
        for i, rows in enumerate(blocks):
            for columns in blocks[: i + 1]:
                self.partial_products(out[:, rows, columns], A[:, rows], A[:, columns], True)

    def cholesky_solve_columns(self, B: Any, L: Any) -> None:
        """``B = (L L^T)^-1 B``, in place, float64; L in a lower triangle."""
        n, m = B.shape
        one = np.ones(1)
        at_L, at_B = (L.data.ptr, leading(L)), (B.data.ptr, leading(B))
        # In Fortran's order these are B^T (m, n) and the upper triangle U = L^T:
        # B^T (L L^T)^-1 = B^T U^-1 U^-T.
        for transposed in (0, 1):
            how = (RIGHT, UPPER, transposed, NON_UNIT)
            self._call("cublasDtrsm_v2", *how, m, n, one.ctypes.data, *at_L, *at_B)


def typed(A: Any) -> tuple[int, int, int]:
    """Return address, type and leading dimension of `A`, as cuBLAS takes a matrix of any type."""
    return A.data.ptr, KINDS[A.dtype.name], leading(A)


def leading(A: Any) -> int:
    """Return the number of elements from one row of `A` to the next."""
    itemsize = A.dtype.itemsize
    if A.shape[1] > 1 and A.strides[1] != itemsize:
        raise ValueError("rows must be contiguous: use ascontiguousarray")
    return max(A.strides[0] // itemsize, A.shape[1], 1)
