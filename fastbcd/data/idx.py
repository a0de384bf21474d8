"""MNIST-style IDX files, plain or gzipped."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fastbcd.data.source import Forward, Source, check_size
from fastbcd.errors import InputError

# Third byte of the magic number -> element type (big-endian).
ELEMENT_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

GZIP = b"\x1f\x8b"
MAX_RANK = 8
# No deflated file is longer than so many times its size.
LARGEST_RATIO = 1032


class Gzipped(Source):
    """A gzipped IDX file. Whether it is as long as its header says is seen where it ends."""

    def map(self, rows: slice) -> None:
        """None, whichever `rows`: what is compressed cannot be mapped."""

    def verify(self) -> None:
        """Read all of it."""
        with self._reporting(), self._open(slice(0, len(self))) as stream:
            stream.skip_to(self.end)
            if stream.position < self.end:
                raise self._truncated(stream.position)
            self._check_end(stream)

    @contextlib.contextmanager
    def _open(self, rows: slice) -> Iterator[Forward]:
        with gzip.open(self.path) as file:
            yield Forward(file)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        with _reporting(self.path):
            yield

    def _check_end(self, stream: Forward) -> None:
        stream.skip_all()  # compares the checksum, too
        if stream.position > self.end:
            raise InputError(
                f"{self.path} has {stream.position} bytes where its header says {self.end}"
            )


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def open_idx(path: Path) -> Source:
    """The array in an IDX file: two zero bytes, type, rank, sizes (big-endian), elements.

    Raises
    ------
    InputError
        Not an IDX file, without samples; plain ones also where they are truncated or longer than
        they say, which of gzipped ones is known, like damage, once they are read.
    """
    gzipped = _is_gzipped(path)
    with _reporting(path), gzip.open(path) if gzipped else path.open("rb") as file:
        magic = file.read(4)
        if not magic:
            raise InputError(f"{path} is empty; an IDX file was expected")
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in ELEMENT_TYPES:
            raise InputError(f"{path} is not an IDX file: its magic number is {magic.hex()}")
        rank = magic[3]
        sizes = file.read(4 * rank)
    start = 4 + 4 * rank
    if 4 + len(sizes) < start:
        raise InputError(f"{path} is truncated: {4 + len(sizes)} bytes of {start}")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    if rank == 0 or rank > MAX_RANK or 0 in shape:
        raise InputError(f"{path} holds no samples: its header says sizes {shape}")
    kind = Gzipped if gzipped else Source
    source = kind(str(path), path, shape, np.dtype(ELEMENT_TYPES[magic[2]]), start)
    if not gzipped:
        check_size(source)
    elif source.end > LARGEST_RATIO * (path.stat().st_size + 1):
        source.verify()  # before memory is taken for what cannot be there
    return source


def _is_gzipped(path: Path) -> bool:
    """By what is in the file; by its name only where that is neither gzipped nor an IDX file."""
    with _reporting(path), path.open("rb") as file:
        magic = file.read(2)
    return magic == GZIP or (magic != b"\0\0" and path.suffix.lower() == ".gz")
