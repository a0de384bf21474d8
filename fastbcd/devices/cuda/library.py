"""The one adapter to CuPy: arrays of the GPU, cuBLAS, cuSOLVER, memory and the stream.

Only `host`, `synchronize` and `as_input` wait for the GPU. CuPy's BLAS modules are imported by the
first call that needs them.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from fastbcd.devices.cuda.captures import captures
from fastbcd.devices.cuda.cublas import UPPER, WORKSPACE_BYTES, CuBLAS, leading
from fastbcd.devices.cuda.group import Group
from fastbcd.devices.ranks import Ranks, SingleProcess, collective_errors
from fastbcd.errors import InputError
from fastbcd.kernels.plain import PLAIN

INSTALL = "pip install 'fastbcd[cuda13]' (for a driver of CUDA 12: 'fastbcd[cuda12]')"


def import_cupy() -> Any:
    """Return CuPy; `InputError` names the extra if it is missing."""
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
    precision : {"float32", "tf32", "bf16"}
        Rounding of the factors of float32 products: none, to 11 bits, to 8 bits.
    ranks : Ranks
        Ranks on this machine take its GPUs in their order.

    Raises
    ------
    InputError
        A package, the driver or the GPU is missing.
    """

    def __init__(self, precision: str, ranks: Ranks) -> None:
        if PLAIN:
            raise InputError(
                "device: cuda needs compiled kernels, and NUMBA_DISABLE_JIT forbids that; "
                "unset it, or use device='cpu'"
            )
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
        self._cupy, self._precision = cupy, precision
        self._work: dict[str, Any] = {}
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._graph_memory = cupy.cuda.MemoryPool()
        held = [self._stream, self._graph_memory]
        captures.release_with(self, held.clear)

    # -- the stream ---------------------------------------------------------------------------

    @cached_property
    def _cublas(self) -> CuBLAS:
        import cupy_backends.cuda.libs.cublas  # noqa: F401 -- finds and loads the library

        name = f"libcublas.so.{self._cupy.cuda.runtime.runtimeGetVersion() // 1000}"
        workspace = self.empty((WORKSPACE_BYTES,), np.uint8)
        stream = self._stream.ptr
        return CuBLAS(ctypes.CDLL(name), stream, workspace, self.array, self._precision == "tf32")

    @contextmanager
    def session(self) -> Iterator[int]:
        """A context in which work runs on one stream; it yields the stream's address.

        The work begins after all earlier work on the default stream: fills and copies of arrays.
        """
        with self._cupy.cuda.Device(self._gpu), self._stream:
            self._stream.wait_event(self._cupy.cuda.Stream.null.record())
            try:
                yield self._stream.ptr
            except BaseException:
                self._stream.synchronize()  # so that no work goes on after the error
                raise

    def synchronize(self) -> None:
        """Wait for all launched work."""
        self._stream.synchronize()

    def captured(self, body: Callable[[], None]) -> Callable[[], None]:
        """Return a function that launches the work of `body` as one CUDA graph; none is done yet.

        The body takes memory from a pool of the graphs. An array that it makes must not outlive it.
        """
        memory = self._cupy.cuda.using_allocator(self._graph_memory.malloc)
        with captures.capture(), memory:
            self._stream.begin_capture()
            try:
                body()
            finally:
                graph = self._stream.end_capture()
        return lambda: graph.launch(self._stream)

    def group(self, ranks: Ranks) -> Group:
        """Return the group of the GPUs of all `ranks`, which call this together.

        `InputError` if NCCL is missing or two ranks have the same GPU.
        """
        from cupy.cuda import nccl

        with collective_errors(ranks):
            if not nccl.available:
                raise InputError(
                    "comm: ranks with a GPU each need NCCL, and CuPy finds none; "
                    "pip install nvidia-nccl-cu13 (for CUDA 12: nvidia-nccl-cu12)"
                )
            bus = self._cupy.cuda.runtime.deviceGetPCIBusId(self._gpu)
        return Group(ranks, nccl, f"{bus} of {platform.node()}")

    def _current(self) -> int:
        return int(self._cupy.cuda.get_current_stream().ptr)

    def sum_over(self, group: Group, array: Any) -> None:
        """Add up a contiguous `array` of floats over the `group`, in place."""
        group.sum(array, self._current())

    def max_over(self, group: Group, array: Any) -> None:
        """Take the largest of each element of a contiguous `array` over the `group`, in place."""
        group.max(array, self._current())

    def from_first(self, group: Group, array: Any) -> None:
        """Replace a contiguous `array` by that of the first rank of the `group`."""
        group.from_first(array, self._current())

    # -- arrays -------------------------------------------------------------------------------

    def empty(self, shape: Any, dtype: Any) -> Any:
        """Return an array with arbitrary contents; `InputError` if it does not fit."""
        try:
            return self._cupy.empty(shape, dtype)
        except self._cupy.cuda.memory.OutOfMemoryError as problem:
            needed = int(np.prod(shape)) * np.dtype(dtype).itemsize
            raise out_of_memory(needed, self.memory()[0]) from problem

    def zeros(self, shape: Any, dtype: Any) -> Any:
        """Return an array of zeros."""
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def array(self, data: Any, dtype: Any) -> Any:
        """Return `data` as a contiguous array of the GPU, copied only if it is not one."""
        if isinstance(data, self._cupy.ndarray):
            return self._cupy.ascontiguousarray(data, dtype)
        data = np.ascontiguousarray(data, dtype)
        out = self.empty(data.shape, data.dtype)
        out.set(data)
        return out

    def as_input(self, data: Any) -> Any:
        """Return `data` of the GPU, of any library, as a CuPy array without a copy; else `data`.

        It uses ``__cuda_array_interface__``, else DLPack. Another library may still write the array
        on its own stream, so this waits for the GPU once.
        """
        if isinstance(data, self._cupy.ndarray):
            self._wait_for_the_device()
            return data
        if getattr(data, "requires_grad", False):
            data = data.detach()
        if hasattr(data, "__cuda_array_interface__"):
            self._wait_for_the_device()
            return self._cupy.asarray(data)
        if hasattr(data, "__dlpack_device__") and data.__dlpack_device__()[0] == 2:  # kDLCUDA
            self._wait_for_the_device()
            return self._cupy.from_dlpack(data)
        return data

    def _wait_for_the_device(self) -> None:
        with captures.no_capture():
            self._cupy.cuda.Device().synchronize()

    def host(self, array: Any) -> Any:
        """Return `array` as a NumPy array."""
        return array.get() if isinstance(array, self._cupy.ndarray) else np.asarray(array)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        """Return the elements of a where `condition` holds, else those of b."""
        return self._cupy.where(condition, a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        """Return the larger of a and b, element by element."""
        return self._cupy.maximum(a, b)

    # -- products and factors, row-major, within a session --------------------------------------

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
        """``out = scale A B + keep out``, with A or B transposed if asked; rows are contiguous.

        scale may be an array of one element on the GPU.
        """
        if self._rounds(out):
            A, B = self._rounded("A", A), self._rounded("B", B)
        self._cublas.gemm(out, A, B, scale, keep, transpose_A, transpose_B)

    def work_arrays(self) -> list[Any]:
        """Return the work arrays of products, which must stay as long as a graph with products."""
        return list(self._work.values())

    def _rounds(self, out: Any) -> bool:
        return self._precision == "bf16" and out.dtype == np.float32

    def _rounded(self, name: str, A: Any) -> Any:
        """Return A in bfloat16, as uint16, in this library's work array `name`.

        Zeros fill up rows and columns to multiples of 8, as tensor cores need. The conversion of
        cuBLAS (``CUBLAS_COMPUTE_32F_FAST_16BF``) is not used, because it computes in TF32.
        """
        from fastbcd.kernels import cuda as kernels

        rows, columns = (-(-size // 8) * 8 for size in A.shape)
        held = self._work.get(name)
        if held is None or held.size < rows * columns:
            held = self._work[name] = self.empty((rows * columns,), np.uint16)
        out = held[: rows * columns].reshape(rows, columns)
        kernels.to_bfloat16(out, A)
        return out

    def gram(self, out: Any, A: Any, of_rows: bool = False) -> None:
        """``out = A^T A``, or ``A A^T`` with `of_rows`: the lower triangle, in true float32."""
        self._cublas.gram(out, A, of_rows)

    def partial_products(self, out: Any, A: Any, B: Any) -> None:
        """``out_c = A_c^T B_c``; out (parts, p, q), A (parts m, p), B (parts m, q)."""
        if self._rounds(out):
            A, B = self._rounded("A", A)[: len(A)], self._rounded("B", B)[: len(B)]
        self._cublas.partial_products(out, A, B)

    def partial_grams(self, out: Any, A: Any) -> None:
        """``out_c = A_c^T A_c``, lower triangles; out (parts, d, d), A (parts m, d)."""
        self._cublas.partial_grams(out, A)

    def cholesky(self, A: Any) -> None:
        """``A = L L^T``, in the lower triangle of A (n, n) float64, in place.

        If A is not positive definite, its contents are arbitrary, without an error.
        """
        from cupy_backends.cuda.libs import cusolver

        handle, n = self._cupy.cuda.device.get_cusolver_handle(), len(A)
        at, ld = A.data.ptr, leading(A)
        size = cusolver.dpotrf_bufferSize(handle, UPPER, n, at, ld)
        work, info = self.empty(max(size, 1), np.float64), self.empty(1, np.int32)
        cusolver.dpotrf(handle, UPPER, n, at, ld, work.data.ptr, size, info.data.ptr)

    def cholesky_solve(self, B: Any, L: Any) -> None:
        """``B = B (L L^T)^-1``, in place; B (m, n), L (n, n) from `cholesky`, float64."""
        from cupy_backends.cuda.libs import cusolver

        handle, info = self._cupy.cuda.device.get_cusolver_handle(), self.empty(1, np.int32)
        (n, m), (at_L, at_B) = (len(L), len(B)), (L.data.ptr, B.data.ptr)
        cusolver.dpotrs(handle, UPPER, n, m, at_L, leading(L), at_B, leading(B), info.data.ptr)

    def cholesky_solve_columns(self, B: Any, L: Any) -> None:
        """``B = (L L^T)^-1 B``, in place; B (n, m), L (n, n) from `cholesky`, float64."""
        self._cublas.cholesky_solve_columns(B, L)

    # -- the card -----------------------------------------------------------------------------

    def memory(self) -> tuple[int, int]:
        """Return the free bytes, with those that CuPy holds unused, and all bytes of the GPU."""
        free, everything = self._cupy.cuda.runtime.memGetInfo()
        return free + self._cupy.get_default_memory_pool().free_bytes(), everything


def out_of_memory(needed: int, free: int) -> InputError:
    """Return the error for `needed` bytes that do not fit into `free` ones."""
    return InputError(
        f"device: the GPU has {free:,} bytes free, and {needed:,} more are needed; take fewer "
        "samples, MiniBatchThreeSplitting, or device='cpu'"
    )


def describe() -> dict[str, str]:
    """Return the lines of ``fastbcd info`` about the GPU, or about what is missing."""
    try:
        cupy = Library("float32", SingleProcess())._cupy  # says what is missing
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
