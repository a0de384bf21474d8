"""Arrays in mapped files: pages are read before they are needed, and let go of when they are not.

All of this is advice: an array holds the same numbers whatever was asked for or let go of.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import tempfile
import weakref
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Of Linux: advice to `madvise`, and `sync_file_range` that waits for the pages it writes.
POPULATE_READ = 22
WRITE_AND_WAIT = 1 | 2 | 4
SUPPORTED = hasattr(mmap, "MADV_WILLNEED") and hasattr(os, "posix_fadvise")
"""Whether this system takes such advice."""


class Mapping(mmap.mmap):
    """A file without a name, mapped into memory; it goes with the last array in it."""

    descriptor: int


def new_array(folder: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """Zeros in a new file of `folder`, whose space is taken now; `OSError` where there is none.

    The file has no name, so that whatever ends this process, nothing of it stays behind.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size == 0:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(dir=folder) as file:
        # Else a disk that is full would not be an error, but the end of the process.
        os.posix_fallocate(file.fileno(), 0, size)
        mapping = Mapping(file.fileno(), size)
        mapping.descriptor = os.dup(file.fileno())
    weakref.finalize(mapping, os.close, mapping.descriptor)
    array: Array = np.ndarray(shape, dtype, buffer=mapping)
    return array


class Pages:
    """The part of a mapped file that holds a contiguous array; see `pages_of`.

    Parameters
    ----------
    array : (n, ...) array
    mapping : mmap.mmap
        What it lies in.
    file_start : int
        Where in its file the mapping starts.
    descriptor : int or None
        Of the file, where it is known.
    ours : bool
        Whether it may have been written to.
    """

    def __init__(
        self, array: Array, mapping: mmap.mmap, file_start: int, descriptor: int | None, ours: bool
    ) -> None:
        self._keep = array
        whole: Array = np.ndarray(len(mapping), np.uint8, buffer=mapping)
        self._address, self._size = whole.ctypes.data, whole.size
        self._offset = array.ctypes.data - self._address
        self._n, self._row_bytes = len(array), array.strides[0]
        self._file_start, self._descriptor, self.ours = file_start, descriptor, ours

    def _range(self, rows: slice) -> tuple[int, int]:
        """Start and length of all pages with a byte of these rows, within the mapping."""
        start = self._offset + rows.start * self._row_bytes
        stop = self._offset + min(rows.stop, self._n) * self._row_bytes
        start -= start % mmap.PAGESIZE
        stop = min(stop + -stop % mmap.PAGESIZE, self._size)
        return start, stop - start

    def prefetch(self, rows: slice) -> None:
        """Start to read these rows, and return."""
        self._advise(rows, mmap.MADV_WILLNEED)

    def fetch(self, rows: slice) -> None:
        """Read these rows, and return when they are there."""
        if self._advise(rows, POPULATE_READ) != 0:
            number = ctypes.get_errno()
            if number not in (errno.EINVAL, errno.ENOSYS):
                raise OSError(number, f"out of core: a file cannot be read: {os.strerror(number)}")
            # An older system: a byte of each page, all other threads going on meanwhile.
            start, length = self._range(rows)
            view = (ctypes.c_char * length).from_address(self._address + start)
            np.ndarray(length, np.uint8, buffer=memoryview(view))[:: mmap.PAGESIZE].max()

    def write(self, rows: slice) -> None:
        """Write what changed in these rows to the disk; `OSError` where that fails."""
        if not self.ours:
            return
        start, length = self._range(rows)
        assert self._descriptor is not None
        place = (ctypes.c_int64(self._file_start + start), ctypes.c_int64(length))
        libc = _libc()
        if not hasattr(libc, "sync_file_range"):
            os.fsync(self._descriptor)
        elif libc.sync_file_range(self._descriptor, *place, WRITE_AND_WAIT) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"out of core: a file cannot be written: {os.strerror(number)}")

    def drop_mapping(self, rows: slice) -> None:
        """Take these rows out of this process; the system may keep what it has no better use for.

        What was not written yet stays with the system until it is.
        """
        self._advise(rows, mmap.MADV_DONTNEED)

    def evict(self, rows: slice) -> None:
        """Take these rows out of memory, but for what was not written yet."""
        self.drop_mapping(rows)
        if self._descriptor is not None:
            start, length = self._range(rows)
            os.posix_fadvise(
                self._descriptor, self._file_start + start, length, os.POSIX_FADV_DONTNEED
            )

    def read_by_rows(self) -> None:
        """Read what is asked for and nothing beyond it."""
        self._advise(slice(0, self._n), mmap.MADV_RANDOM)

    def read_in_order(self) -> None:
        """Read on beyond what is asked for, as usual."""
        self._advise(slice(0, self._n), mmap.MADV_NORMAL)

    def _advise(self, rows: slice, advice: int) -> int:
        start, length = self._range(rows)
        # By ctypes, because `mmap.madvise` keeps the interpreter from other threads meanwhile.
        place = (ctypes.c_void_p(self._address + start), ctypes.c_size_t(length))
        return int(_libc().madvise(*place, advice))


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def pages_of(array: Any) -> Pages | None:
    """Those of an array of `new_array` or of `numpy.memmap`, or a view of one; None of another."""
    if not isinstance(array, np.ndarray) or array.size == 0 or array.ndim == 0:
        return None
    if not array.flags.c_contiguous:
        return None
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return _pages_of_memmap(array, base)
        base = base.base
    if isinstance(base, Mapping):
        return Pages(array, base, 0, base.descriptor, ours=True)
    return None


def release(array: Any) -> None:
    """Rows of an array that were read or written need not stay in this process.

    What lies in a file of ours is written first, and leaves the system's memory, too. Where rows
    are not together, all pages of the file have some of them, and all go. Of an array in memory
    nothing happens.
    """
    if not SUPPORTED:
        return
    pages = pages_of(array)
    if pages is None:
        mapping = _shared_mapping(array)
        if mapping is not None:
            mapping.madvise(mmap.MADV_DONTNEED)
        return
    rows = slice(0, len(array))
    if pages.ours:
        pages.write(rows)
        pages.evict(rows)
    else:
        pages.drop_mapping(rows)


def _shared_mapping(array: Any) -> mmap.mmap | None:
    """The mapping of a file in which `array` lies, whose pages are not their only copy."""
    base = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            mapping: mmap.mmap | None = getattr(base, "_mmap", None)
            return None if base.mode == "c" else mapping
        base = base.base
    return base if isinstance(base, Mapping) else None


def _pages_of_memmap(array: Array, origin: np.memmap) -> Pages | None:
    """Those of a view of a `numpy.memmap`, whose file is opened again for advice on it."""
    mapping = getattr(origin, "_mmap", None)
    # What a ufunc made of one lies in memory, and of mode "c" there is no other copy.
    if mapping is None or origin.mode == "c":
        return None
    descriptor = None
    if origin.filename is not None:
        try:
            descriptor = os.open(origin.filename, os.O_RDONLY)
        except OSError:
            descriptor = None  # it has gone or moved: its pages can still be unmapped
    start = origin.offset - origin.offset % mmap.ALLOCATIONGRANULARITY
    pages = Pages(array, mapping, start, descriptor, ours=False)
    if descriptor is not None:
        weakref.finalize(pages, os.close, descriptor)
    return pages
