"""cuBLAS by its C interface: products and triangular solves of row-major arrays of the GPU.

CuPy has cuBLAS, too, but its functions refuse to be captured in a CUDA graph. The handle here is
this project's own: its workspace is given once, so that nothing is allocated by a call, a capture
included, and a product repeats to the last bit.
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
# Types of elements; a bfloat16 comes as its 16 bits.
KINDS = {"float32": 0, "float64": 1, "uint16": 14}
# How products are added up; with TF32 the factors of float32 are rounded first.
ADD_FLOAT32, ADD_FLOAT64, ADD_TF32 = 68, 70, 77
DEFAULT_ALGORITHM = -1
HOST_POINTERS, DEVICE_POINTERS = 0, 1
UPPER, RIGHT, NON_UNIT = 1, 1, 0
# What NVIDIA advises for its cards of 2022 and later.
WORKSPACE_BYTES = 32 * 2**20

# Columns of a Gram matrix that are one block; of two blocks above and below its diagonal only the
# one below is computed.
GRAM_BLOCK = 512

_INT, _LONG = ctypes.c_int, ctypes.c_longlong
_PLACE, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_PRODUCT = [_PLACE, *[_INT] * 5, _PLACE, _PLACE, _INT, _PLACE, _INT, _PLACE, _PLACE, _INT]
_PRODUCT_IN = [
    *[_PLACE, *[_INT] * 5, _PLACE, _PLACE, _INT, _INT, _PLACE, _INT, _INT],
    *[_PLACE, _PLACE, _INT, _INT, _INT, _INT],
]
_MATRICES = [_PLACE, _INT, _INT, _LONG]
_PRODUCTS = [
    *[_PLACE, *[_INT] * 5, _PLACE, *_MATRICES, *_MATRICES, _PLACE, *_MATRICES],
    *[_INT, _INT, _INT],
]
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
"""Types of the arguments of every function that is called; all return a status."""


class CuBLAS:
    """A handle of cuBLAS on one stream.

    Parameters
    ----------
    library : ctypes.CDLL
        ``libcublas``.
    stream : int
        Address of the stream that all calls are made on.
    workspace : array of the GPU
        Bytes for cuBLAS's own use; kept as long as the handle.
    array : callable
        ``array(data, dtype)`` copies data to the GPU.
    tf32 : bool
        Whether float32 products may round their factors to TF32 (11 bits).

    Raises
    ------
    RuntimeError
        From any method, where cuBLAS returns another status than success.
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
        captures.release_with(self, destroy)  # it waits for the device
        self._workspace = workspace
        # In this order: a new stream takes the workspace away again.
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
        # To Fortran a row-major array is its transpose: out^T = B^T A^T.
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
        """The call itself, in Fortran's order; alpha and beta are addresses."""
        if out.dtype == np.float64:
            at_A, at_B, at_out = ((M.data.ptr, leading(M)) for M in (A, B, out))
            self._call("cublasDgemm_v2", *sizes, alpha, *at_B, *at_A, beta, *at_out)
            return
        kind = KINDS[A.dtype.name]
        self._call(
            *("cublasGemmEx", *sizes, alpha, B.data.ptr, kind, leading(B)),
            *(A.data.ptr, kind, leading(A), beta, out.data.ptr, KINDS["float32"], leading(out)),
            *(self._add_float32 if kind == KINDS["float32"] else ADD_FLOAT32, DEFAULT_ALGORITHM),
        )

    def _constant(self, value: float, dtype: np.dtype) -> Any:
        key = float(value), dtype
        if key not in self._constants:
            self._constants[key] = self._array(np.array([value]), dtype)
        return self._constants[key]

    def gram(self, out: Any, A: Any, of_rows: bool) -> None:
        """Lower triangle of ``out = A^T A``, or of ``A A^T`` with `of_rows`; true float32."""
        n, k = out.shape[0], A.shape[1] if of_rows else A.shape[0]
        name = "cublasSsyrk_v2" if out.dtype == np.float32 else "cublasDsyrk_v2"
        numbers = np.array([1.0, 0.0], out.dtype)
        alpha_at, beta_at = numbers.ctypes.data, numbers.ctypes.data + numbers.itemsize
        self._call(
            *(name, UPPER, int(of_rows), n, k, alpha_at, A.data.ptr, leading(A), beta_at),
            *(out.data.ptr, leading(out)),
        )

    def partial_products(self, out: Any, A: Any, B: Any, true_float32: bool = False) -> None:
        """``out_c = A_c^T B_c`` for every part c of the rows of A and B; all parts in one call.

        out (parts, p, q), A (parts m, p), B (parts m, q): A_c are the rows ``c m`` to
        ``(c + 1) m``. With `true_float32` factors are not rounded to TF32. A and B may both be
        bfloat16, as uint16; then their columns beyond p and q are not read.
        """
        parts, p, q = out.shape
        m, kind = len(A) // parts, KINDS[A.dtype.name]
        compute = ADD_FLOAT64 if out.dtype == np.float64 else ADD_FLOAT32
        if A.dtype == np.float32 and not true_float32:
            compute = self._add_float32
        numbers = np.array([1.0, 0.0], out.dtype)
        at = numbers.ctypes.data
        # To Fortran a row-major array is its transpose: out_c^T = B_c^T A_c.
        self._call(
            *("cublasGemmStridedBatchedEx", 0, 1, q, p, m, at),
            *(B.data.ptr, kind, leading(B), m * leading(B)),
            *(A.data.ptr, kind, leading(A), m * leading(A)),
            *(at + numbers.itemsize, out.data.ptr, KINDS[out.dtype.name], leading(out[0])),
            *(out.strides[0] // out.dtype.itemsize, parts, compute, DEFAULT_ALGORITHM),
        )

    def partial_grams(self, out: Any, A: Any) -> None:
        """Lower triangles of ``out_c = A_c^T A_c`` for every part c of A's rows; true float32.

        out (parts, d, d), A (parts m, d). By blocks, of which those above the diagonal are left
        out: cuBLAS has a call for one triangle, which on an H200 has less than half the rate of
        its products.
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
        # Fortran holds B^T (m, n) and L^T, upper: B^T (L L^T)^-1 = B^T U^-1 U^-T with U = L^T.
        for transposed in (0, 1):
            self._call(
                *("cublasDtrsm_v2", RIGHT, UPPER, transposed, NON_UNIT, m, n, one.ctypes.data),
                *(L.data.ptr, leading(L), B.data.ptr, leading(B)),
            )


def leading(A: Any) -> int:
    """Elements from one row of `A` to the next."""
    itemsize = A.dtype.itemsize
    if A.shape[1] > 1 and A.strides[1] != itemsize:
        raise ValueError("rows must be contiguous: use ascontiguousarray")
    return max(A.strides[0] // itemsize, A.shape[1], 1)
