"""A stand-in for the CuPy adapter on NumPy arrays, for the whole device in the simulator.

Every method has the name, arguments and in-place behaviour of
`fastbcd.devices.cuda.library.Library`. `DeviceArray` is as strict as CuPy's arrays: it does not mix
with arrays of the processor, and its elements are arrays. A read of a value is counted, because it
waits for the GPU. Memory is full of NaN, so that a read before a write shows.

A captured body runs at once and is kept on a tape, with its memory and its numbers. The first
launch of the capture does nothing; later ones play the tape. So results are those of a CUDA graph,
stale numbers included.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.linalg import cho_solve

from fastbcd.devices.cuda.device import CUDA
from fastbcd.kernels.cuda import target

WAITS: list[str] = []
"""Names of the methods by which the host has read from the GPU."""


REPLAYS: list[int] = []
"""The number of steps in each replay of a tape."""


class _Tape(threading.local):
    """The work that the thread has captured so far; None outside of a capture."""

    steps: list[Callable[[], None]] | None = None


_tape = _Tape()


def taped(function: Any) -> Any:
    """Return `function` with its calls kept on a running tape; a replay updates their results."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        tape, _tape.steps = _tape.steps, None  # inner calls are part of this one
        try:
            result = function(*arguments, **options)
        finally:
            _tape.steps = tape
        if tape is not None:
            results = result if isinstance(result, tuple) else (result,)

            def again() -> None:
                renewed = function(*arguments, **options)
                renewed = renewed if isinstance(renewed, tuple) else (renewed,)
                for old, new in zip(results, renewed, strict=True):
                    if isinstance(old, DeviceArray):
                        np.asarray(old)[...] = np.asarray(new)

            tape.append(again)
        return result

    return call


class DeviceArray(np.ndarray):
    """An array that forbids what arrays of the GPU forbid."""

    @taped
    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        given = [*inputs, *(out or ())]
        if any(type(a) is np.ndarray and a.ndim for a in given):
            raise TypeError(f"{ufunc.__name__}: an array of the GPU and one of the processor")
        plain = [np.asarray(a) if isinstance(a, DeviceArray) else a for a in inputs]
        if out is not None:
            options["out"] = tuple(np.asarray(a) for a in out)
        result = getattr(ufunc, method)(*plain, **options)
        if out is not None:
            return out[0]
        return on_device(result)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} of an array of the GPU")

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if any(type(k) is np.ndarray for k in keys):
            raise TypeError("index on the processor")
        # An element is a view of no dimension.
        return super().__getitem__(key if any(k is Ellipsis for k in keys) else (*keys, Ellipsis))

    @taped
    def __setitem__(self, key: Any, value: Any) -> None:
        if type(value) is np.ndarray and value.ndim:
            raise TypeError("an array of the processor assigned to one of the GPU")
        super().__setitem__(key, np.asarray(value) if isinstance(value, DeviceArray) else value)

    @taped
    def astype(self, *arguments: Any, **options: Any) -> Any:
        return super().astype(*arguments, **options)

    @taped
    def copy(self, *arguments: Any) -> Any:
        return super().copy(*arguments)

    def reshape(self, *shape: Any) -> Any:
        result = super().reshape(*shape)
        shared = not result.size or np.shares_memory(*map(np.asarray, (result, self)))
        assert shared, "a copy that no tape knows of"
        return result

    def _read(self, what: str) -> Any:
        assert _tape.steps is None, f"{what} of an array while a graph is captured"
        WAITS.append(what)
        return np.asarray(self)

    def __bool__(self) -> bool:
        return bool(self._read("bool"))

    def __float__(self) -> float:
        return float(self._read("float"))

    def __int__(self) -> int:
        return int(self._read("int"))

    def __index__(self) -> int:
        return int(self._read("index"))

    def tolist(self) -> Any:
        return self._read("tolist").tolist()

    def item(self, *arguments: Any) -> Any:
        return self._read("item").item(*arguments)


def on_device(result: Any) -> Any:
    """Return a NumPy result like CuPy: a number is an array, too."""
    return np.asarray(result).view(DeviceArray)


class HostLibrary:
    def __init__(self, free: int = 2**40) -> None:
        self.free = free

    @contextmanager
    def session(self) -> Iterator[int]:
        yield 0

    def captured(self, body: Any) -> Any:
        tape: list[Callable[[], None]] = []
        if not hasattr(target._launch, "__wrapped__"):
            target._launch = taped(target._launch)
        _tape.steps = tape
        try:
            body()
        finally:
            _tape.steps = None
        launches = 0

        def launch() -> None:
            nonlocal launches
            launches += 1
            if launches > 1:
                REPLAYS.append(len(tape))
                names, target.launched = target.launched, None  # one launch, of a graph
                for step in tape:
                    step()
                target.launched = names

        return launch

    def work_arrays(self) -> list[Any]:
        return []

    def synchronize(self) -> None:
        WAITS.append("synchronize")

    def group(self, ranks: Any) -> Any:
        return ranks

    def sum_over(self, group: Any, array: Any) -> None:
        group.sum(array)

    def max_over(self, group: Any, array: Any) -> None:
        group.max(array)

    def from_first(self, group: Any, array: Any) -> None:
        array[...] = group.gather(array.copy())[0]

    def empty(self, shape: Any, dtype: Any) -> Any:
        array = np.empty(shape, dtype)
        array.fill(np.nan if array.dtype.kind == "f" else 0)
        return array.view(DeviceArray)

    @taped
    def zeros(self, shape: Any, dtype: Any) -> Any:
        return np.zeros(shape, dtype).view(DeviceArray)

    def array(self, data: Any, dtype: Any) -> Any:
        if isinstance(data, DeviceArray):
            if data.dtype == np.dtype(dtype) and data.flags.c_contiguous:
                return data
            return data.astype(dtype, order="C")
        assert _tape.steps is None, "a copy from the host while a graph is captured"
        return np.array(data, dtype, order="C").view(DeviceArray)

    def as_input(self, data: Any) -> Any:
        return data

    def host(self, array: Any) -> Any:
        assert _tape.steps is None, "a copy to the host while a graph is captured"
        if isinstance(array, DeviceArray):
            WAITS.append("host")
        return np.array(np.asarray(array))

    @taped
    def where(self, condition: Any, a: Any, b: Any) -> Any:
        return on_device(np.where(*map(plain, (condition, a, b))))

    @taped
    def maximum(self, a: Any, b: Any) -> Any:
        return on_device(np.maximum(plain(a), plain(b)))

    @taped
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
        assert A.dtype == B.dtype == out.dtype
        for matrix in (out, A, B):
            assert isinstance(matrix, DeviceArray)
            assert matrix.shape[1] <= 1 or matrix.strides[1] == matrix.itemsize
        out, A, B = map(np.asarray, (out, A, B))
        factor = out.dtype.type(np.asarray(scale).reshape(-1)[0])
        product = factor * ((A.T if transpose_A else A) @ (B.T if transpose_B else B))
        out[...] = product if keep == 0.0 else product + out.dtype.type(keep) * out

    @taped
    def gram(self, out: Any, A: Any, of_rows: bool = False) -> None:
        out, A = np.asarray(out), np.asarray(A)
        lower = np.tril_indices(len(out))
        out[lower] = (A @ A.T if of_rows else A.T @ A)[lower]

    @taped
    def partial_products(self, out: Any, A: Any, B: Any) -> None:
        out, A, B = map(np.asarray, (out, A, B))
        m = len(A) // len(out)
        assert len(A) == len(B) == m * len(out)
        for c, product in enumerate(out):
            rows = slice(c * m, (c + 1) * m)
            product[...] = A[rows].T @ B[rows]

    @taped
    def partial_grams(self, out: Any, A: Any) -> None:
        lower = np.tril_indices(out.shape[1])
        full = np.empty(out.shape, out.dtype)
        self.partial_products(full, A, A)
        for product, whole in zip(np.asarray(out), full, strict=True):
            product[lower] = whole[lower]

    @taped
    def cholesky(self, A: Any) -> None:
        A = np.asarray(A)
        lower = np.tril_indices(len(A))
        full = np.tril(A) + np.tril(A, -1).T
        A[lower] = np.linalg.cholesky(full)[lower] if np.isfinite(full).all() else np.nan

    @taped
    def cholesky_solve(self, B: Any, L: Any) -> None:
        B, L = np.asarray(B), np.tril(np.asarray(L))
        B[...] = cho_solve((L, True), B.T, check_finite=False).T

    @taped
    def cholesky_solve_columns(self, B: Any, L: Any) -> None:
        B, L = np.asarray(B), np.tril(np.asarray(L))
        B[...] = cho_solve((L, True), B, check_finite=False)

    def memory(self) -> tuple[int, int]:
        return self.free, self.free


def plain(a: Any) -> Any:
    """Return the array; an array of the processor is refused."""
    assert type(a) is not np.ndarray or not a.ndim
    return np.asarray(a) if isinstance(a, DeviceArray) else a


class SimulatedCUDA(CUDA):
    """The CUDA device with kernels in the simulator and algebra in NumPy."""

    def _library(self) -> Any:
        return HostLibrary()


def on_simulator(solver: Any) -> Any:
    """Give `solver`, made for the CPU, the CUDA device in the simulator."""
    solver.device = SimulatedCUDA(1, solver.device._tile_rows)
    return solver
