"""Arrays in files, read forwards and in pieces, with one piece at a time in memory."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastbcd.errors import InputError

PIECE = 2**20  # bytes


@contextlib.contextmanager
def reporting(
    path: Path, errors: tuple[type[Exception], ...] = (OSError,), form: str = ""
) -> Iterator[None]:
    """Turn `errors` that occur while `path` is read, as a `form`, into an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except errors as error:
        raise InputError(f"{path} cannot be read{form}: {error}") from None


class Forward:
    """A binary stream `file` that is read forwards only, and its `position`."""

    def __init__(self, file: BinaryIO, position: int = 0) -> None:
        self.file, self.position = file, position

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer at the end."""
        content = self.file.read(size)
        self.position += len(content)
        return content

    def skip_to(self, position: int) -> None:
        """Skip to `position`, or to the end if that comes first."""
        while self.position < position and self.read(min(PIECE, position - self.position)):
            pass

    def skip_all(self) -> None:
        """Skip to the end."""
        while self.read(PIECE):
            pass


@dataclass(frozen=True)
class Source:
    """An uncompressed array (n, ...) in the file `path`; all axes after the first are flattened.

    Parameters
    ----------
    name : str
        Name of the array, for messages.
    path : Path
    shape : tuple of int
    dtype : dtype
        Type of the elements in the file.
    offset : int
        Byte at which the elements begin.
    fortran : bool, default=False
        The first axis runs fastest.
    """

    name: str
    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    fortran: bool = False

    # Whether reading the whole array compares a checksum.
    has_checksum = False
    # What may go wrong in reading, and the form of file that messages name.
    errors: ClassVar[tuple[type[Exception], ...]] = (OSError,)
    form: ClassVar[str] = ""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def width(self) -> int:
        """Number of elements in a row."""
        return math.prod(self.shape[1:])

    @property
    def end(self) -> int:
        """Byte after the last element."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def pieces(self, rows: slice) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Yield (row, column, elements (m, k)), in order, which together are `rows` of the array.

        A file that ends too early, or is damaged in the part that was read, is an `InputError`.
        """
        size = self.dtype.itemsize
        with self._reporting(), self._open(rows) as stream:
            for first, column, k in self._runs(rows):
                stream.skip_to(self.offset + first * size)
                step = max(1, PIECE // (k * size))
                for row in range(rows.start, rows.stop, step):
                    m = min(step, rows.stop - row)
                    content = stream.read(m * k * size)
                    if len(content) < m * k * size:
                        raise self._truncated(stream.position)
                    yield row, column, np.frombuffer(content, self.dtype).reshape(m, k)
            if rows.stop == len(self):
                self._check_end(stream)

    def _runs(self, rows: slice) -> Iterator[tuple[int, int, int]]:
        """Yield (first element, column, columns) of each contiguous run of `rows` in the file."""
        if rows.start == rows.stop or self.width == 0:
            return
        if not self.fortran:
            yield rows.start * self.width, 0, self.width
            return
        # Columns of the flattened array, whose last axis runs fastest, in the order of the file.
        columns = np.arange(self.width).reshape(self.shape[1:]).ravel(order="F")
        for k, column in enumerate(columns.tolist()):
            yield k * len(self) + rows.start, column, 1

    def map(self, rows: slice) -> NDArray[Any] | None:
        """Map `rows` (m, d) of the file, without reading them; None if that is impossible."""
        empty = rows.start == rows.stop or self.width == 0
        if empty or not self.dtype.isnative or (self.fortran and len(self.shape) > 2):
            return None
        shape, order = (len(self), self.width), "F" if self.fortran else "C"
        with self._reporting():
            array = np.memmap(self.path, self.dtype, "r", self.offset, shape, order)  # type: ignore[call-overload]
        return array[rows]

    def verify(self) -> None:
        """Raise an `InputError` if the file has the wrong length and that was not checked yet."""

    @contextlib.contextmanager
    def _open(self, rows: slice) -> Iterator[Forward]:
        """Open a stream for `rows`."""
        with self.path.open("rb", buffering=0) as file:
            yield _Seekable(file)

    def _reporting(self) -> AbstractContextManager[None]:
        return reporting(self.path, self.errors, self.form)

    def _truncated(self, size: int) -> InputError:
        return InputError(f"{self.path} is truncated: {size} bytes of {self.end}")

    def _check_end(self, stream: Forward) -> None:
        """Raise an `InputError` if the wrong bytes follow the last element."""


class _Seekable(Forward):
    """An unbuffered file, in which skipping costs nothing."""

    def read(self, size: int) -> bytes:
        parts = []
        while size > 0 and (part := super().read(size)):  # one call reads at most 2 GiB
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip_to(self, position: int) -> None:
        self.position = self.file.seek(position)


def check_size(source: Source) -> None:
    """Raise an `InputError` unless the file is exactly as long as its header says."""
    size = source.path.stat().st_size
    if size < source.end:
        raise source._truncated(size)
    if size > source.end:
        raise InputError(f"{source.path} has {size} bytes where its header says {source.end}")
