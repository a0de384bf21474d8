"""The one adapter to CuPy: arrays of the GPU, cuBLAS, cuSOLVER, memory and the stream.

Nothing here waits for the GPU but what returns a value to the host: `host`, `synchronize`.
CuPy's BLAS modules are imported by the first call that needs them.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastbcd.devices.cuda.group import Group
from fastbcd.errors import InputError
from fastbcd.ranks import Alone, Ranks, together

INSTALL = "pip install 'fastbcd[cuda13]' (for a driver of CUDA 12: 'fastbcd[cuda12]')"
# Values of cuBLAS's enumerations; they are the same in all its versions.
TRUE_FLOAT32, TF32 = 0, 3
HOST_POINTERS, DEVICE_POINTERS = 0, 1


def import_cupy() -> Any:
    """CuPy; `InputError` that names the extra where it is missing."""
    try:
        import cupy
    except ImportError as problem:
        raise InputError(
            f"device: cuda needs CuPy and numba-cuda, which are not installed: {INSTALL}"
        ) from problem
    return cupy


class Library:
    """CuPy on the current GPU.

    Parameters
    ----------
    tf32 : bool
        Whether float32 products may round their factors to TF32 (11 bits).
    ranks : Ranks
        With several on this machine, each takes a GPU of its own, in their order.

    Raises
    ------
    InputError
        A package, the driver or the GPU is missing.
    """

    def __init__(self, tf32: bool, ranks: Ranks) -> None:
        cupy = import_cupy()
        try:
            n_devices = cupy.cuda.runtime.getDeviceCount()
        except Exception as problem:
            raise InputError(
                "device: cuda needs an NVIDIA GPU and its driver, and CuPy finds none here "
                f"({problem}); use device='cpu'"
            ) from problem
        if n_devices == 0:
            raise InputError("device: cuda needs an NVIDIA GPU, and CuPy finds none here")
        self._gpu = ranks.rank_on_this_machine % n_devices
        cupy.cuda.Device(self._gpu).use()
        self._cupy, self._tf32 = cupy, tf32
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._constants: dict[tuple[float, np.dtype], Any] = {}
        self._graph_memory: Any = None

    # -- the stream ---------------------------------------------------------------------------

    @contextmanager
    def session(self) -> Iterator[int]:
        """Work within it runs on one stream, whose address it gives, with the chosen products."""
        from cupy.cuda import cublas

        with self._stream:
            handle = self._cupy.cuda.device.get_cublas_handle()
            before = cublas.getMathMode(handle)
            cublas.setMathMode(handle, TF32 if self._tf32 else TRUE_FLOAT32)
            try:
                yield self._stream.ptr
            finally:
                cublas.setMathMode(handle, before)

    def synchronize(self) -> None:
        """Wait for all that was launched."""
        self._stream.synchronize()

    def captured(self, body: Callable[[], None]) -> Callable[[], None]:
        """What launches all that `body` launches, as one CUDA graph; nothing is done yet.

        Memory that the body takes and gives back is the graphs' own. An array that it makes must
        not outlive it.
        """
        cupy = self._cupy
        if self._graph_memory is None:
            self._graph_memory = cupy.cuda.MemoryPool()
        with cupy.cuda.using_allocator(self._graph_memory.malloc):
            self._stream.begin_capture()
            try:
                body()
            finally:
                graph = self._stream.end_capture()
        return lambda: graph.launch(self._stream)

    def group(self, ranks: Ranks) -> Group:
        """The GPUs of all `ranks`, for sums over them; all of them call this together.

        `InputError` where NCCL is missing, or two ranks have one GPU.
        """
        from cupy.cuda import nccl

        with together(ranks):
            if not nccl.available:
                raise InputError(
                    "comm: ranks with a GPU each need NCCL, and CuPy finds none; "
                    "pip install nvidia-nccl-cu13 (for CUDA 12: nvidia-nccl-cu12)"
                )
            bus = self._cupy.cuda.runtime.deviceGetPCIBusId(self._gpu)
        return Group(ranks, nccl, f"{bus} of {platform.node()}")

    def sum_over(self, group: Group, array: Any) -> None:
        """`array`, contiguous floats, becomes the sum of those of the `group`, in place."""
        group.sum(array, self._stream.ptr)

    def max_over(self, group: Group, array: Any) -> None:
        """The same with the largest, element by element."""
        group.max(array, self._stream.ptr)

    def from_first(self, group: Group, array: Any) -> None:
        """`array`, contiguous, becomes that of the first rank of the `group`, in place."""
        group.from_first(array, self._stream.ptr)

    # -- arrays -------------------------------------------------------------------------------

    def empty(self, shape: Any, dtype: Any) -> Any:
        """An uninitialised array; `InputError` where it does not fit."""
        try:
            return self._cupy.empty(shape, dtype)
        except self._cupy.cuda.memory.OutOfMemoryError as problem:
            needed = int(np.prod(shape)) * np.dtype(dtype).itemsize
            raise out_of_memory(needed, self.memory()[0]) from problem

    def zeros(self, shape: Any, dtype: Any) -> Any:
        """An array of zeros."""
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def array(self, data: Any, dtype: Any) -> Any:
        """`data` as a contiguous array of the GPU; not copied where it is one already."""
        if isinstance(data, self._cupy.ndarray):
            return self._cupy.ascontiguousarray(data, dtype)
        data = np.ascontiguousarray(data, dtype)
        out = self.empty(data.shape, data.dtype)
        out.set(data)
        return out

    def received(self, data: Any) -> Any:
        """`data` of the GPU, of whichever library, as CuPy's, without a copy; other data as it is.

        By ``__cuda_array_interface__``, else by DLPack. Whoever made it may still be at work on
        a stream of theirs, so this waits for the GPU once.
        """
        if isinstance(data, self._cupy.ndarray):
            self._cupy.cuda.Device().synchronize()
            return data
        if getattr(data, "requires_grad", False):
            data = data.detach()
        if hasattr(data, "__cuda_array_interface__"):
            self._cupy.cuda.Device().synchronize()
            return self._cupy.asarray(data)
        if hasattr(data, "__dlpack_device__") and data.__dlpack_device__()[0] == 2:  # kDLCUDA
            self._cupy.cuda.Device().synchronize()
            return self._cupy.from_dlpack(data)
        return data

    def host(self, array: Any) -> Any:
        """`array` as a NumPy array."""
        return array.get() if isinstance(array, self._cupy.ndarray) else np.asarray(array)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        """Elements of a where `condition` holds, else of b."""
        return self._cupy.where(condition, a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        """The larger of two, element by element."""
        return self._cupy.maximum(a, b)

    def isfinite(self, a: Any) -> Any:
        """Neither NaN nor infinite, element by element."""
        return self._cupy.isfinite(a)

    # -- products and factors, row-major --------------------------------------------------------

    def gemm(
        self,
        out: Any,
        A: Any,
        B: Any,
        scale: Any = 1.0,
        keep: float = 0.0,
        transpose_A: bool = False,
        transpose_B: bool = False,
    ) -> None:
        """``out = scale A B + keep out``, A and B transposed on demand; rows contiguous.

        scale may be an array of one element on the GPU.
        """
        from cupy.cuda import cublas

        m, n = out.shape
        k = A.shape[0] if transpose_A else A.shape[1]
        if 0 in (m, n):
            return
        product = cublas.sgemm if out.dtype == np.float32 else cublas.dgemm
        # To Fortran a row-major array is its transpose: out^T = B^T A^T.
        operations = int(transpose_B), int(transpose_A)
        handle = self._cupy.cuda.device.get_cublas_handle()
        sizes = (handle, *operations, n, m, k)
        factors = (B.data.ptr, _leading(B), A.data.ptr, _leading(A))
        if hasattr(scale, "data") and isinstance(scale, self._cupy.ndarray):
            alpha = scale.astype(out.dtype).reshape(1)
            beta = self._constant(keep, out.dtype)
            cublas.setPointerMode(handle, DEVICE_POINTERS)
            try:
                product(
                    *(*sizes, alpha.data.ptr, *factors, beta.data.ptr),
                    *(out.data.ptr, _leading(out)),
                )
            finally:
                cublas.setPointerMode(handle, HOST_POINTERS)
            return
        numbers = np.array([scale, keep], out.dtype)
        alpha_at, beta_at = numbers.ctypes.data, numbers.ctypes.data + numbers.itemsize
        product(*sizes, alpha_at, *factors, beta_at, out.data.ptr, _leading(out))

    def _constant(self, value: float, dtype: np.dtype) -> Any:
        key = float(value), dtype
        if key not in self._constants:
            self._constants[key] = self.array(np.array([value]), dtype)
        return self._constants[key]

    def gram(self, out: Any, A: Any, of_rows: bool = False) -> None:
        """Lower triangle of ``out = A^T A``, or of ``A A^T`` with `of_rows`; true float32."""
        from cupy.cuda import cublas

        n, k = out.shape[0], A.shape[1] if of_rows else A.shape[0]
        product = cublas.ssyrk if out.dtype == np.float32 else cublas.dsyrk
        handle = self._cupy.cuda.device.get_cublas_handle()
        numbers = np.array([1.0, 0.0], out.dtype)
        alpha_at, beta_at = numbers.ctypes.data, numbers.ctypes.data + numbers.itemsize
        cublas.setMathMode(handle, TRUE_FLOAT32)
        product(
            *(handle, cublas.CUBLAS_FILL_MODE_UPPER, int(of_rows), n, k, alpha_at),
            *(A.data.ptr, _leading(A), beta_at, out.data.ptr, _leading(out)),
        )
        cublas.setMathMode(handle, TF32 if self._tf32 else TRUE_FLOAT32)

    def cholesky(self, A: Any) -> None:
        """``A = L L^T``, in the lower triangle of A (n, n) float64, in place.

        Where A is not positive definite, its contents are arbitrary; nobody is told.
        """
        from cupy.cuda import cublas
        from cupy_backends.cuda.libs import cusolver

        handle, n = self._cupy.cuda.device.get_cusolver_handle(), len(A)
        uplo = cublas.CUBLAS_FILL_MODE_UPPER
        size = cusolver.dpotrf_bufferSize(handle, uplo, n, A.data.ptr, _leading(A))
        work, info = self.empty(max(size, 1), np.float64), self.empty(1, np.int32)
        cusolver.dpotrf(
            *(handle, uplo, n, A.data.ptr, _leading(A), work.data.ptr, size, info.data.ptr)
        )

    def cholesky_solve(self, B: Any, L: Any) -> None:
        """``B = B (L L^T)^-1``, in place; B (m, n), L (n, n) from `cholesky`, float64."""
        from cupy.cuda import cublas
        from cupy_backends.cuda.libs import cusolver

        handle, info = self._cupy.cuda.device.get_cusolver_handle(), self.empty(1, np.int32)
        cusolver.dpotrs(
            *(handle, cublas.CUBLAS_FILL_MODE_UPPER, len(L), len(B), L.data.ptr, _leading(L)),
            *(B.data.ptr, _leading(B), info.data.ptr),
        )

    def cholesky_solve_columns(self, B: Any, L: Any) -> None:
        """``B = (L L^T)^-1 B``, in place; B (n, m), L (n, n) from `cholesky`, float64."""
        from cupy.cuda import cublas

        handle, (n, m) = self._cupy.cuda.device.get_cublas_handle(), B.shape
        one = np.ones(1)
        # Fortran holds B^T (m, n) and L^T, upper: B^T (L L^T)^-1 = B^T U^-1 U^-T with U = L^T.
        for transposed in (0, 1):
            cublas.dtrsm(
                *(handle, cublas.CUBLAS_SIDE_RIGHT, cublas.CUBLAS_FILL_MODE_UPPER, transposed),
                *(cublas.CUBLAS_DIAG_NON_UNIT, m, n, one.ctypes.data, L.data.ptr, _leading(L)),
                *(B.data.ptr, _leading(B)),
            )

    def qr(self, A: Any) -> tuple[Any, Any]:
        """Q (m, k) with orthonormal columns and R (k, k), ``A = Q R``."""
        return tuple(self._cupy.linalg.qr(A))

    def eigh(self, A: Any) -> tuple[Any, Any]:
        """Eigenvalues, ascending, and eigenvectors, as columns, of symmetric A."""
        return tuple(self._cupy.linalg.eigh(A))

    # -- the card -----------------------------------------------------------------------------

    def memory(self) -> tuple[int, int]:
        """Bytes that can still be had, those that CuPy holds unused included, and all bytes."""
        free, everything = self._cupy.cuda.runtime.memGetInfo()
        return free + self._cupy.get_default_memory_pool().free_bytes(), everything


def out_of_memory(needed: int, free: int) -> InputError:
    """What to raise where `needed` bytes do not fit into `free` ones."""
    return InputError(
        f"device: the GPU has {free:,} bytes free, and {needed:,} more are needed; take fewer "
        "samples, MiniBatchThreeSplitting, or device='cpu'"
    )


def _leading(A: Any) -> int:
    """Elements from one row of `A` to the next."""
    itemsize = A.dtype.itemsize
    if A.shape[1] > 1 and A.strides[1] != itemsize:
        raise ValueError("rows must be contiguous: use ascontiguousarray")
    return max(A.strides[0] // itemsize, A.shape[1], 1)


def describe() -> dict[str, str]:
    """What ``fastbcd info`` says of the GPU; says what is missing where something is."""
    try:
        cupy = Library(False, Alone())._cupy  # says what is missing
        runtime = cupy.cuda.runtime
        driver = runtime.driverGetVersion()
        properties = runtime.getDeviceProperties(runtime.getDevice())
        free, everything = runtime.memGetInfo()
    except Exception as problem:
        return {"cuda device": " ".join(str(problem).split())}
    toolkit = runtime.runtimeGetVersion()
    name = properties["name"]
    return {
        "cuda device": f"{name.decode() if isinstance(name, bytes) else name}, "
        f"compute capability {properties['major']}.{properties['minor']}, "
        f"{everything:,} bytes, {free:,} free",
        "cuda driver": f"supports CUDA {driver // 1000}.{driver % 1000 // 10}",
        "cuda toolkit": f"{toolkit // 1000}.{toolkit % 1000 // 10}, cupy {cupy.__version__}",
    }
