"""The one module that imports Numba's CUDA target: compiling, launching, summing on a GPU.

A kernel is compiled at its first call, for the types of that call (a signature would need a GPU at
import). With ``NUMBA_ENABLE_CUDASIM=1`` Numba's simulator runs the same kernels in Python, on
NumPy arrays. Each thread of the GPU is then one of Python's, so grids are tiny.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import cuda as cuda
from numba import types
from numba.core import config
from numba.extending import overload
from numba.np.numpy_support import from_dtype

from fastbcd.kernels.formula import SUBSTITUTES, Formula

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"

# Threads of a block, in all kernels: sums over a block need this number at compile time.
THREADS = 4 if SIMULATED else 256
# Most blocks of a grid; a thread takes several rows of larger matrices. With about four rounds of
# blocks on 132 multiprocessors the last round is not half empty. Each thread takes many rows, 86
# for a matrix of (60000, 1500), so that its start (50 instructions) costs little.
BLOCKS = 2 if SIMULATED else 4096
# Most blocks of a kernel with sums; each leaves one partial sum.
SUM_BLOCKS = 2 if SIMULATED else 2048
# Up to this number of rows a block takes 32 of them.
FEW_ROWS = 132 * 64
# Most blocks where each takes a row, which is also the number of rows of their work space.
ROW_BLOCKS = 2 if SIMULATED else 4096


# -- arguments ------------------------------------------------------------------------------------


class _View:
    """A GPU array without the name of its stream, which Numba launches fastest.

    CuPy and PyTorch name the stream of an array, and Numba would wait for it on the host for each
    argument of each launch. That is unnecessary, as this project launches on one stream only.
    """

    __slots__ = ("__cuda_array_interface__", "_numba_type_", "owner")

    def __init__(self, array: Any) -> None:
        interface = dict(array.__cuda_array_interface__)
        interface.pop("stream", None)
        self.__cuda_array_interface__ = interface
        self.owner = array
        # Numba's type is given, so that the launcher does not derive it in each launch.
        layout = "C" if interface.get("strides") is None else "A"
        self._numba_type_ = _array_type(interface["typestr"], len(interface["shape"]), layout)


@cache
def _array_type(element: str, ndim: int, layout: str) -> types.Array:
    return types.Array(from_dtype(np.dtype(element)), ndim, layout)


class _Simulated:
    """A formula inside the simulator; it unwraps the simulator's own array objects."""

    def __init__(self, formula: Formula) -> None:
        self.formula = formula
        self.has_quick_prox = "quick_prox" in formula.functions

    def __getattr__(self, method: str) -> Callable[..., Any]:
        known = method in self.formula.functions
        function = getattr(self.formula, method if known else SUBSTITUTES.get(method, method))
        return lambda *arguments: function(*map(_plain, arguments))


def _plain(argument: Any) -> Any:
    """The formula or array inside an object of the simulator."""
    if isinstance(argument, _Simulated):
        return argument.formula
    item = getattr(argument, "_item", None)  # a kernel sees this object inside the array
    return argument if item is None else item._ary


class Arguments:
    """An extension of Numba's launcher for arguments that are no arrays or numbers.

    A `Formula` is passed as its parameters, one after the other. None is known from its type, so
    an unused word is passed.
    """

    @staticmethod
    def prepare_args(ty: Any, value: Any, stream: Any, retr: Any) -> tuple[Any, Any]:
        """Type ty and value in the form that the launcher passes; stream and retr are not used."""
        if isinstance(value, Formula):
            return types.UniTuple(types.float64, value.numba_type.n_parameters), value.parameters
        return (types.intp, 0) if value is None else (ty, value)


def gpu_kernel(function: Any, **options: Any) -> Any:
    """Compile a kernel of the GPU that may take formulas; `launch` runs it.

    options of Numba's compiler, such as ``max_registers``.
    """
    if SIMULATED:
        return cuda.jit(function)
    return cuda.jit(function, extensions=[Arguments], **options)


def gpu_function(function: Any) -> Any:
    """Compile a function that kernels of the GPU call."""
    return cuda.jit(function, device=True)


def shared_scalar(function: Any) -> Any:
    """Make a compiled scalar of the CPU kernels callable in kernels of the GPU."""
    if not SIMULATED:
        return function
    return lambda *arguments: function(*map(_plain, arguments))


def number(x: Any) -> Any:
    """``x``, or ``x[0]`` where x is an array of one element on the GPU."""
    return x[0] if hasattr(x, "shape") and x.shape else x


@overload(number)
def _number(x):
    if isinstance(x, types.Array):
        return lambda x: x[0]
    return lambda x: x


# -- where launches go ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Queue:
    """The stream that kernels run on, and the allocator of their sums.

    ``stream`` is what Numba's launcher takes; ``empty(shape, dtype)`` makes an array of the GPU.
    """

    stream: Any
    empty: Callable[[tuple[int, ...], Any], Any]


def _numba_empty(shape: tuple[int, ...], dtype: Any) -> Any:
    on_host = SIMULATED or record is not None
    return np.empty(shape, dtype) if on_host else cuda.device_array(shape, dtype)


_default = Queue(0, _numba_empty)
_current: ContextVar[Queue] = ContextVar("fastbcd_cuda_queue", default=_default)


@cache
def _external_stream(stream: int) -> Any:
    # The same object each time, as Numba's launcher caches its configuration by it.
    return cuda.external_stream(stream)


class _Quiet:
    """Switch off Numba's warnings of small grids, in any number of threads."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = config.CUDA_LOW_OCCUPANCY_WARNINGS
                config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                config.CUDA_LOW_OCCUPANCY_WARNINGS = self._before


_quiet = _Quiet()


@contextmanager
def launching(stream: int, empty: Callable[[tuple[int, ...], Any], Any]) -> Iterator[None]:
    """Run kernels on the stream with the address `stream` in this context; `empty` makes arrays."""
    token = _current.set(Queue(stream if SIMULATED else _external_stream(stream), empty))
    try:
        yield
    finally:
        _current.reset(token)


# -- launches -------------------------------------------------------------------------------------

record: list[tuple[Any, tuple[Any, ...]]] | None = None
"""If it is a list, launches are appended to it, kernels with their arguments, and are not made; a
check without a GPU compiles these."""
launched: list[str] | None = None
"""If it is a list, names of launched kernels are appended to it."""


def _arguments(arguments: Sequence[Any]) -> list[Any]:
    if SIMULATED:
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

        # No copy: of an array that is passed twice, the copies would overwrite each other's result.
        kinds: dict[type, Callable[[Any], Any]] = {
            Formula: _Simulated,
            np.ndarray: lambda a: FakeCUDAArray(np.asarray(a)),
        }
        return [
            next((wrap(a) for kind, wrap in kinds.items() if isinstance(a, kind)), a)
            for a in arguments
        ]
    return [_View(a) if hasattr(a, "__cuda_array_interface__") else a for a in arguments]


def _launch(kernel: Any, grid: Any, block: Any, arguments: tuple[Any, ...]) -> None:
    if record is not None:
        record.append((kernel, arguments))
        return
    if launched is not None:
        launched.append(kernel.py_func.__name__.strip("_"))
    with _quiet:
        kernel[grid, block, _current.get().stream](*_arguments(arguments))


def _grid(shape: tuple[int, ...], n_blocks: int) -> tuple[Any, Any]:
    """Grid and block for a matrix, with x along its columns: neighbours read adjacent elements.

    A thread has one column and the rows that `elements` gives.
    """
    rows, columns = shape
    wide = 1
    while wide < min(columns, 32, THREADS):
        wide *= 2
    block = wide, THREADS // wide
    across = max(1, -(-columns // wide))
    down = -(-rows // block[1])
    return (across, max(1, min(down, n_blocks // across))), block


def launch(kernel: Any, shape: tuple[int, ...], *arguments: Any) -> None:
    """Run an elementwise `kernel` with a grid for a matrix of that shape."""
    if 0 not in shape:
        _launch(kernel, *_grid(shape, BLOCKS), arguments)


def _aligned(shape: tuple[int, int], arguments: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The matrices reshaped to rows of 128 elements, where possible, and their shape.

    A warp then reads and writes whole lines of memory. Rows of 1500 float32 begin in the middle of
    a line, so that a warp touches two lines, and an H200 loses a third of its bandwidth.
    """
    matrices = [a for a in arguments if getattr(a, "ndim", 0) == 2]
    size = shape[0] * shape[1]
    columns = next((k for k in (128, 64, 32) if size % k == 0), None)
    if columns is None or not all(a.shape == shape and _is_contiguous(a) for a in matrices):
        return shape, list(arguments)
    rows = size // columns, columns
    return rows, [a.reshape(rows) if getattr(a, "ndim", 0) == 2 else a for a in arguments]


def _is_contiguous(array: Any) -> bool:
    return bool(getattr(getattr(array, "flags", None), "c_contiguous", False))


def launch_each(kernel: Any, shape: tuple[int, int], *arguments: Any) -> None:
    """`launch` for a kernel that needs no position of an element, or finds it by `columns_of`."""
    shape, aligned = _aligned(shape, arguments)
    launch(kernel, shape, *aligned)


def launch_rows(kernel: Any, rows: int, *arguments: Any) -> None:
    """Run a kernel in which one thread takes a row, without sums over a block."""
    if rows:
        # A thread has much work here, so few rows are spread over many multiprocessors.
        threads = THREADS if rows > FEW_ROWS else min(32, THREADS)
        blocks = min(-(-rows // threads), BLOCKS)
        _launch(kernel, blocks, threads, arguments)


def launch_block(kernel: Any, *arguments: Any) -> None:
    """Run a kernel in which the threads of a single block share all work."""
    _launch(kernel, 1, THREADS, arguments)


def launch_blocks(kernel: Any, rows: int, *arguments: Any) -> None:
    """Run a kernel in which the threads of one block share a row, and nothing is added up."""
    if rows:
        _launch(kernel, min(rows, ROW_BLOCKS), THREADS, arguments)


def new_array(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an array of the GPU with arbitrary contents, for the launches of one function."""
    return _current.get().empty(shape, dtype)


def _finished(partial: Any, into: Any, largest: bool) -> Any:
    out = _current.get().empty((len(partial),), np.float64) if into is None else into
    kernel = _largest_of_blocks if largest else _sum_of_blocks
    _launch(kernel, len(partial), THREADS, (out, partial, into is not None))
    return out


def total(
    kernel: Any,
    shape: tuple[int, ...],
    *arguments: Any,
    sums: int = 1,
    into: Any = None,
    largest: bool = False,
) -> Any:
    """Run an elementwise `kernel` that leaves partial sums in its first argument; add them up.

    Returns an array of `sums` float64 numbers on the GPU, or adds them to the array `into`. With
    `largest` it is the maximum (of values >= 0). The order is fixed, so results repeat.
    """
    grid, block = _grid(shape, SUM_BLOCKS)
    partial = _current.get().empty((sums, grid[0] * grid[1]), np.float64)
    _launch(kernel, grid, block, (partial, *arguments))
    return _finished(partial, into, largest)


def total_of_each(kernel: Any, shape: tuple[int, int], *arguments: Any, **options: Any) -> Any:
    """`total` for a kernel that does not depend on the position of an element in its matrix."""
    shape, aligned = _aligned(shape, arguments)
    return total(kernel, shape, *aligned, **options)


def threads_of_rows(rows: int) -> int:
    """Return the number of threads of `total_of_rows`, each of which may have work space."""
    return THREADS * max(1, min(-(-rows // THREADS), SUM_BLOCKS))


def total_of_rows(kernel: Any, rows: int, *arguments: Any, sums: int = 1, into: Any = None) -> Any:
    """`total` for a kernel in which one thread takes a row."""
    blocks = threads_of_rows(rows) // THREADS
    partial = _current.get().empty((sums, blocks), np.float64)
    _launch(kernel, blocks, THREADS, (partial, *arguments))
    return _finished(partial, into, False)


def total_of_blocks(
    kernel: Any, rows: int, *arguments: Any, sums: int = 1, into: Any = None
) -> Any:
    """`total` for a kernel in which the threads of one block share a row."""
    blocks = max(1, min(rows, ROW_BLOCKS))
    partial = _current.get().empty((sums, blocks), np.float64)
    _launch(kernel, blocks, THREADS, (partial, *arguments))
    return _finished(partial, into, False)


def total_of_columns(kernel: Any, sums: Any, rows: int, *arguments: Any) -> None:
    """``sums += sum over parts of partial``: sums (k, d), partial (k, parts, d) from `kernel`.

    partial is the first argument of the kernel. x is a column; a part is the set of rows that
    one thread of a column takes.
    """
    k, d = sums.shape
    if 0 in (k, d, rows):
        return
    grid, block = _grid((rows, d), 2 if SIMULATED else 1024)
    partial = _current.get().empty((k, grid[1] * block[1], d), np.float64)
    _launch(kernel, grid, block, (partial, *arguments))
    _launch(_add_parts, (grid[0], k), block, (sums, partial))


# -- a thread's share -----------------------------------------------------------------------------


@gpu_function
def elements(rows, columns):
    """A thread's share of a matrix: first row, column, step between rows, number of rows.

    All elementwise kernels use it::

        i, j, down, turns = elements(*A.shape)
        for _ in range(turns):
            ...
            i += down

    Row and column are unsigned: each access would test a signed index for counting from the end.
    The number of rows is known before the loop, so that the compiler unrolls it. It takes one
    32-bit division, where ``range(i, rows, down)`` divides in 64 bits.
    """
    x = np.uint32(cuda.threadIdx.x + cuda.blockDim.x * cuda.blockIdx.x)
    y = np.uint32(cuda.threadIdx.y + cuda.blockDim.y * cuda.blockIdx.y)
    down = np.uint32(cuda.blockDim.y * cuda.gridDim.y)
    turns = np.int32(0)
    if y < rows and x < columns:
        turns = np.int32(np.uint32(np.uint32(rows) - y + down - np.uint32(1)) // down)
    return np.uint64(y), np.uint64(x), np.uint64(down), turns


@gpu_function
def columns_of(i, j, down, columns, d):
    """The column that element (i, j) of a reshaped matrix has in the matrix itself, of d columns.

    `launch_each` may have reshaped the matrix to `columns` columns. Returns the column, what a step
    of `down` rows adds to it, and d, as `to_the_right` takes them.
    """
    n = np.uint64(d)
    return (i * np.uint64(columns) + j) % n, (down * np.uint64(columns)) % n, n


@gpu_function
def to_the_right(column, right, d):
    """The column ``(column + right) mod d``, both being less than d."""
    column += right
    return column - d if column >= d else column


# -- sums over a block ----------------------------------------------------------------------------


@gpu_function
def thread_of_block():
    """Number of this thread within its block."""
    return cuda.threadIdx.x + cuda.blockDim.x * cuda.threadIdx.y


@gpu_function
def block_of_grid():
    """Number of this thread's block within the grid."""
    return cuda.blockIdx.x + cuda.gridDim.x * cuda.blockIdx.y


@gpu_function
def block_sum(value):
    """Sum of a float64 over the threads of a block; all of them get it."""
    memory = cuda.shared.array(THREADS, types.float64)
    me = thread_of_block()
    cuda.syncthreads()  # other threads may still read the sum before this one
    memory[me] = value
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if me < half:
            memory[me] += memory[me + half]
        half //= 2
    cuda.syncthreads()
    return memory[0]


@gpu_function
def block_max(value):
    """Maximum of a float64 over the threads of a block; all of them get it."""
    memory = cuda.shared.array(THREADS, types.float64)
    me = thread_of_block()
    cuda.syncthreads()
    memory[me] = value
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if me < half:
            memory[me] = max(memory[me], memory[me + half])
        half //= 2
    cuda.syncthreads()
    return memory[0]


@gpu_function
def leave_sum(partial, value):
    """Leave the sum of a float64 over the threads of a block in ``partial[0, block]``."""
    total = block_sum(value)
    if thread_of_block() == 0:
        partial[0, block_of_grid()] = total


@gpu_function
def leave_sums(partial, first, second):
    """`leave_sum` for two float64, the second in ``partial[1, block]``."""
    totals = block_sum(first), block_sum(second)
    if thread_of_block() == 0:
        partial[0, block_of_grid()], partial[1, block_of_grid()] = totals


@gpu_kernel
def _sum_of_blocks(out, partial, adds):
    k, own = cuda.blockIdx.x, 0.0
    for b in range(cuda.threadIdx.x, partial.shape[1], THREADS):
        own += partial[k, b]
    sum_k = block_sum(own)
    if cuda.threadIdx.x == 0:
        out[k] = out[k] + sum_k if adds else sum_k


@gpu_kernel
def _largest_of_blocks(out, partial, adds):
    k, own = cuda.blockIdx.x, 0.0
    for b in range(cuda.threadIdx.x, partial.shape[1], THREADS):
        own = max(own, partial[k, b])
    largest = block_max(own)
    if cuda.threadIdx.x == 0:
        out[k] = largest


@gpu_kernel
def _add_parts(sums, partial):
    # A block takes some columns of one sum: x is a column, and its threads share the parts by y.
    memory = cuda.shared.array(THREADS, types.float64)
    x, y, wide, high = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockDim.x, cuda.blockDim.y
    j, k, own = x + wide * cuda.blockIdx.x, cuda.blockIdx.y, 0.0
    if j < sums.shape[1]:
        for i in range(y, partial.shape[1], high):
            own += partial[k, i, j]
    memory[x + wide * y] = own
    cuda.syncthreads()
    if y == 0 and j < sums.shape[1]:
        for other in range(1, high):
            own += memory[x + wide * other]
        sums[k, j] += own
