"""Arrays in files, read forwards and in pieces: in memory are a piece and what was asked for."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastbcd.errors import InputError

PIECE = 2**20  # bytes


class Forward:
    """A binary stream that only goes forwards, and its `position`; errors are `file`'s."""

    def __init__(self, file: BinaryIO, position: int = 0) -> None:
        self.file, self.position = file, position

    def read(self, size: int) -> bytes:
        """`size` bytes; fewer only at the end."""
        content = self.file.read(size)
        self.position += len(content)
        return content

    def skip_to(self, position: int) -> None:
        """Read on, and forget, up to `position` or the end."""
        while self.position < position and self.read(min(PIECE, position - self.position)):
            pass

    def skip_all(self) -> None:
        """Read on to the end, and forget."""
        while self.read(PIECE):
            pass


@dataclass(frozen=True)
class Source:
    """An array (n, ...) in the file `path`, uncompressed; behind the first axis it is made flat.

    Parameters
    ----------
    name : str
        Of the array, for messages.
    path : Path
    shape : tuple of int
    dtype : dtype
        In the file.
    offset : int
        Byte at which its elements begin.
    fortran : bool, default=False
        The first axis runs fastest.
    """

    name: str
    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    fortran: bool = False

    # All of it passes a checksum when it is read from beginning to end.
    has_checksum = False

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def width(self) -> int:
        """Elements of one row."""
        return math.prod(self.shape[1:])

    @property
    def end(self) -> int:
        """Byte behind the last element."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def pieces(self, rows: slice) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """(row, column, elements (m, k)) that together are `rows` of the array (n, d), in order.

        `InputError` for a file that ends too early or is damaged in what was read.
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
        """(first element, column, columns) of what lies in one piece in the file, for `rows`."""
        if rows.start == rows.stop or self.width == 0:
            return
        if not self.fortran:
            yield rows.start * self.width, 0, self.width
            return
        # Where each column of the flat array, whose last axis runs fastest, lies in the file.
        columns = np.arange(self.width).reshape(self.shape[1:]).ravel(order="F")
        for k, column in enumerate(columns.tolist()):
            yield k * len(self) + rows.start, column, 1

    def map(self, rows: slice) -> NDArray[Any] | None:
        """`rows` (m, d) as they lie in the file, without reading them; None where it cannot be."""
        few = rows.start == rows.stop or self.width == 0
        if few or not self.dtype.isnative or (self.fortran and len(self.shape) > 2):
            return None
        shape, order = (len(self), self.width), "F" if self.fortran else "C"
        with self._reporting():
            array = np.memmap(self.path, self.dtype, "r", self.offset, shape, order)  # type: ignore[call-overload]
        return array[rows]

    def verify(self) -> None:
        """`InputError` where the file is not as long as it should be, if that was not seen yet."""

    @contextlib.contextmanager
    def _open(self, rows: slice) -> Iterator[Forward]:
        """A stream for `rows`."""
        with self.path.open("rb", buffering=0) as file:
            yield _Seekable(file)

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error}") from None

    def _truncated(self, size: int) -> InputError:
        return InputError(f"{self.path} is truncated: {size} bytes of {self.end}")

    def _check_end(self, stream: Forward) -> None:
        """`InputError` where what follows the last element is not as it should be."""


class _Seekable(Forward):
    """An unbuffered file: skipping costs nothing."""

    def read(self, size: int) -> bytes:
        parts = []
        while size > 0 and (part := super().read(size)):  # a call gives 2 GiB at most
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip_to(self, position: int) -> None:
        self.position = self.file.seek(position)


def check_size(source: Source) -> None:
    """`InputError` where the file is not just as long as its header says."""
    size = source.path.stat().st_size
    if size < source.end:
        raise source._truncated(size)
    if size > source.end:
        raise InputError(f"{source.path} has {size} bytes where its header says {source.end}")
