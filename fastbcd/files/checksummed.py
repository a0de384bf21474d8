"""Files of arrays with a checksum of every byte, so that damage is noticed: safetensors files.

They are written and read in blocks of rows, so that arrays may be larger than memory.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastbcd.errors import InputError
from fastbcd.files.atomic import replacing
from fastbcd.files.tensor_header import compose, parse

Array = NDArray[Any]
Take = Callable[[Any, slice], AbstractContextManager[Array]]
# This stands in the place of the checksum while it is computed.
BLANK = b"0" * 64
# The header holds our JSON as a string, its quotes escaped.
KEY = rb"\"checksum\": \""
# Bytes that are written, read and hashed at a time.
CHUNK = 2**22


def write_checksummed(
    path: Path,
    tensors: Mapping[str, Any],
    metadata: dict[str, Any],
    take: Take | None = None,
) -> str:
    """Write arrays and metadata, whole or not at all; the same content gives the same bytes.

    Any reader of safetensors files can open it. Its metadata are one JSON text under ``fastbcd``,
    in which ``checksum`` is the SHA-256 of the whole file, with that checksum's own 64 digits
    counted as zeros. Writing needs memory for a block of rows of some MB, not for the arrays.

    Parameters
    ----------
    path : Path
    tensors : mapping of str to array
    metadata : dict
        Anything that JSON can hold.
    take : callable, optional
        ``take(array, rows)`` is a context of a NumPy array of those rows of an array; for arrays
        of which ``array[rows]`` is none, such as those of a graphics card.

    Returns
    -------
    str
        The checksum.

    Raises
    ------
    OSError
        The file cannot be written; the file that was there before is untouched.
    """
    ordered = json.loads(json.dumps(metadata, sort_keys=True))
    blank = {"checksum": BLANK.decode()}
    text = json.dumps(blank | ordered | blank)  # the checksum comes first: readers look there
    order, start = compose(tensors, text)
    digest = hashlib.sha256(start)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(start)
        for name in order:
            for block in _blocks(tensors[name], take or _take):
                digest.update(block)
                file.write(block)
        file.seek(start.index(KEY) + len(KEY))
        file.write(digest.hexdigest().encode())
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


@contextmanager
def _take(array: Array, rows: slice) -> Iterator[Array]:
    yield array[rows]


def _blocks(array: Any, take: Take) -> Iterator[memoryview]:
    """The bytes of `array`, row after row."""
    if not math.prod(array.shape):
        return
    rows = array if array.shape else array.reshape(1)
    step = _rows_at_a_time(rows.dtype, rows.shape)
    for start in range(0, len(rows), step):
        with take(rows, slice(start, start + step)) as block:
            yield _bytes(np.ascontiguousarray(block, block.dtype.newbyteorder("<")))


def _bytes(contiguous: Array) -> memoryview:
    """The memory of an array."""
    return contiguous.reshape(-1).view(np.uint8).data


def _rows_at_a_time(dtype: np.dtype, shape: tuple[int, ...]) -> int:
    return max(1, CHUNK // max(1, dtype.itemsize * math.prod(shape[1:])))


class ChecksummedFile:
    """A file that `write_checksummed` wrote, open for reading; runs no code from it.

    Parameters
    ----------
    path : Path
    kind : str
        Kind of the file, for errors: "model", "checkpoint".
    formats_without_checksum : tuple of int
        Values of the metadata's ``format`` for which a file needs no checksum.
    verify : bool
        Whether to compute the checksum of the whole file.

    Attributes
    ----------
    metadata : dict
    tensors : dict of str to Tensor
        Types and shapes by name.

    Raises
    ------
    InputError
        No such file, not one of ours, or not the bytes that were written.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        formats_without_checksum: tuple[int, ...] = (),
        verify: bool = True,
    ) -> None:
        self.path, self.kind = path, kind
        with self._blamed():
            self._file = path.open("rb")
        try:
            with self._blamed():
                self._read_header(formats_without_checksum, verify)
        except BaseException:
            self.close()
            raise

    def _read_header(self, formats_without_checksum: tuple[int, ...], verify: bool) -> None:
        file = self._file
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if length > size - 8:
            raise ValueError("its header is longer than the file")
        header = file.read(length)
        found = header.find(KEY)
        if found >= 0 and verify:
            position = 8 + found + len(KEY)
            file.seek(position)
            if file.read(len(BLANK)) != _digest(file, position):
                raise InputError(f"{self.path} is damaged: its checksum is wrong")
        texts, self.tensors = parse(header, size)
        self.metadata = json.loads(texts["fastbcd"])
        if not isinstance(self.metadata, dict):
            raise ValueError("its metadata are no table")
        if found < 0 and self.metadata["format"] not in formats_without_checksum:
            raise InputError(f"{self.path} is damaged: it has no checksum")

    def read(self, name: str) -> Array:
        """The whole tensor `name`."""
        tensor = self.tensors[name]
        array = np.empty(tensor.shape, tensor.dtype)
        rows = array if tensor.shape else array.reshape(1)
        for start, block in self.blocks(name):
            rows[start : start + len(block)] = block
        return array

    def blocks(
        self, name: str, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, Array]]:
        """Rows ``start:stop`` of the tensor `name`, some at a time, each time after their index.

        `InputError` where the file has become unreadable.
        """
        tensor = self.tensors[name]
        n, *rest = tensor.shape or (1,)
        row_bytes = tensor.dtype.itemsize * math.prod(rest)
        step = _rows_at_a_time(tensor.dtype, tensor.shape)
        stop = n if stop is None else min(stop, n)
        for first in range(start, stop, step):
            block = np.empty((min(step, stop - first), *rest), tensor.dtype)
            with self._blamed():
                self._file.seek(tensor.start + first * row_bytes)
                if self._file.readinto(_bytes(block)) != block.nbytes:
                    raise ValueError("it has become shorter")
            yield first, block

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> ChecksummedFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Every error within becomes one that names the file."""
        try:
            yield
        except FileNotFoundError:
            raise InputError(f"{self.path} does not exist") from None
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror or error}") from None
        except (InputError, MemoryError):
            raise
        except Exception as error:
            # A file that we did not write may break anything here: the file is to blame.
            raise InputError(
                f"{self.path} is not a fastbcd {self.kind}, or damaged: {error}"
            ) from None


def read_checksummed(
    path: Path, kind: str, formats_without_checksum: tuple[int, ...] = ()
) -> tuple[dict[str, Array], dict[str, Any]]:
    """All arrays and the metadata of a file; parameters and errors as for `ChecksummedFile`."""
    with ChecksummedFile(path, kind, formats_without_checksum) as file:
        return {name: file.read(name) for name in file.tensors}, file.metadata


def _digest(file: BinaryIO, position: int) -> bytes:
    """SHA-256 of the file, in hexadecimal, the 64 bytes at `position` counted as zeros."""
    digest, place = hashlib.sha256(), 0
    file.seek(0)
    while chunk := bytearray(file.read(CHUNK)):
        start, stop = position - place, position + len(BLANK) - place
        first, last = max(start, 0), min(stop, len(chunk))
        if first < last:
            chunk[first:last] = BLANK[: last - first]
        digest.update(chunk)
        place += len(chunk)
    return digest.hexdigest().encode()
