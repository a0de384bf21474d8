"""MNIST-style IDX files, plain or gzipped."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fastbcd.data.source import Forward, Source, check_size, reporting
from fastbcd.errors import InputError

# Third byte of the magic number -> element type (big-endian).
ELEMENT_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

GZIP = b"\x1f\x8b"
MAX_AXES = 8
# Deflate compresses by this ratio at most.
LARGEST_RATIO = 1032
ERRORS = (OSError, EOFError, zlib.error)


class Gzipped(Source):
    """A gzipped IDX file; its length is known only when its end is read."""

    errors = ERRORS

    def map(self, rows: slice) -> None:
        """Return None for any `rows`, because compressed data cannot be mapped."""

    def verify(self) -> None:
        """Read the whole file."""
        with self._reporting(), self._open(slice(0, len(self))) as stream:
            stream.skip_to(self.end)
            if stream.position < self.end:
                raise self._truncated(stream.position)
            self._check_end(stream)

    @contextlib.contextmanager
    def _open(self, rows: slice) -> Iterator[Forward]:
        with gzip.open(self.path) as file:
            yield Forward(file)  # type: ignore[arg-type]

    def _check_end(self, stream: Forward) -> None:
        stream.skip_all()  # gzip compares the checksum at the end
        if stream.position > self.end:
            raise InputError(
                f"{self.path} has {stream.position} bytes where its header says {self.end}"
            )


def open_idx(path: Path) -> Source:
    """Open an IDX file: two zero bytes, type, number of axes, sizes (big-endian), elements.

    Raises
    ------
    InputError
        It is not an IDX file, has no samples, or has another length than its header says. The
        length of a gzipped file, and damage in it, are checked when it is read.
    """
    gzipped = _is_gzipped(path)
    with reporting(path, ERRORS), gzip.open(path) if gzipped else path.open("rb") as file:
        magic = file.read(4)
        if not magic:
            raise InputError(f"{path} is empty; an IDX file was expected")
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in ELEMENT_TYPES:
            raise InputError(f"{path} is not an IDX file: its magic number is {magic.hex()}")
        n_axes = magic[3]
        sizes = file.read(4 * n_axes)
    start = 4 + 4 * n_axes
    if 4 + len(sizes) < start:
        raise InputError(f"{path} is truncated: {4 + len(sizes)} bytes of {start}")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    if n_axes == 0 or n_axes > MAX_AXES or 0 in shape:
        raise InputError(f"{path} holds no samples: its header says sizes {shape}")
    kind = Gzipped if gzipped else Source
    source = kind(str(path), path, shape, np.dtype(ELEMENT_TYPES[magic[2]]), start)
    if not gzipped:
        check_size(source)
    elif source.end > LARGEST_RATIO * (path.stat().st_size + 1):
        source.verify()  # do not allocate memory for elements that cannot be there
    return source


def _is_gzipped(path: Path) -> bool:
    """Whether the file begins like gzip; its name counts only if it begins like neither form."""
    with reporting(path, ERRORS), path.open("rb") as file:
        magic = file.read(2)
    return magic == GZIP or (magic != b"\0\0" and path.suffix.lower() == ".gz")
