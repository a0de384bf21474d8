"""Arrays in mapped files, whose pages are prefetched before their use and evicted after it.

All of this is advice to the system: it never changes the contents of an array.
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

# Linux constants: advice to `madvise`, and flags with which `sync_file_range` waits for its writes.
POPULATE_READ = 22
WRITE_AND_WAIT = 1 | 2 | 4
SUPPORTED = hasattr(mmap, "MADV_WILLNEED") and hasattr(os, "posix_fadvise")
"""Whether this system takes advice about pages."""


class Mapping(mmap.mmap):
    """A mapped file without a name; it is deleted with the last array in it."""

    descriptor: int


def new_array(folder: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """Make an array of zeros in a new file of `folder`; `OSError` if the disk has no room.

    The file has no name, so that nothing is left behind, however this process ends.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size == 0:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(dir=folder) as file:
        # Without it, a full disk would kill the process at a later write.
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
        The mapping that contains it.
    file_start : int
        Byte of the file at which the mapping starts.
    descriptor : int or None
        Descriptor of the file, if it is known.
    writable : bool
        Whether the array may have been written to; its file is then one of `new_array`.
    """

    def __init__(
        self,
        array: Array,
        mapping: mmap.mmap,
        file_start: int,
        descriptor: int | None,
        writable: bool,
    ) -> None:
        self._keep = array
        whole: Array = np.ndarray(len(mapping), np.uint8, buffer=mapping)
        self._address, self._size = whole.ctypes.data, whole.size
        self._offset = array.ctypes.data - self._address
        self._n, self._row_bytes = len(array), array.strides[0]
        self._file_start, self._descriptor, self.writable = file_start, descriptor, writable

    def _range(self, rows: slice) -> tuple[int, int]:
        """Return start and length, within the mapping, of all pages with a byte of these rows."""
        start = self._offset + rows.start * self._row_bytes
        stop = self._offset + min(rows.stop, self._n) * self._row_bytes
        start -= start % mmap.PAGESIZE
        stop = min(stop + -stop % mmap.PAGESIZE, self._size)
        return start, stop - start

    def prefetch(self, rows: slice) -> None:
        """Start to read these rows; do not wait for them."""
        self._advise(rows, mmap.MADV_WILLNEED)

    def fetch(self, rows: slice) -> None:
        """Read these rows, and wait until they are in memory."""
        if self._advise(rows, POPULATE_READ) != 0:
            number = ctypes.get_errno()
            if number not in (errno.EINVAL, errno.ENOSYS):
                raise OSError(number, f"out of core: a file cannot be read: {os.strerror(number)}")
            # Older systems: read a byte of each page, while other threads go on.
            start, length = self._range(rows)
            view = (ctypes.c_char * length).from_address(self._address + start)
            np.ndarray(length, np.uint8, buffer=memoryview(view))[:: mmap.PAGESIZE].max()

    def write(self, rows: slice) -> None:
        """Write changes in these rows to the disk; `OSError` if that fails."""
        if not self.writable:
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
        """Take these rows out of this process; the system may keep them in its cache.

        It keeps changes that are not on the disk yet.
        """
        self._advise(rows, mmap.MADV_DONTNEED)

    def evict(self, rows: slice) -> None:
        """Take these rows out of memory, except for changes that are not on the disk yet."""
        self.drop_mapping(rows)
        if self._descriptor is not None:
            start, length = self._range(rows)
            os.posix_fadvise(
                self._descriptor, self._file_start + start, length, os.POSIX_FADV_DONTNEED
            )

    def read_by_rows(self) -> None:
        """Turn read-ahead off."""
        self._advise(slice(0, self._n), mmap.MADV_RANDOM)

    def read_in_order(self) -> None:
        """Turn the usual read-ahead on."""
        self._advise(slice(0, self._n), mmap.MADV_NORMAL)

    def _advise(self, rows: slice, advice: int) -> int:
        start, length = self._range(rows)
        # By ctypes, because `mmap.madvise` blocks the interpreter's other threads.
        place = (ctypes.c_void_p(self._address + start), ctypes.c_size_t(length))
        return int(_libc().madvise(*place, advice))


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def pages_of(array: Any) -> Pages | None:
    """Return the pages of a contiguous array in a mapped file, or None for any other `array`.

    Such arrays are those of `new_array` and `numpy.memmap`, and views of them.
    """
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
        return Pages(array, base, 0, base.descriptor, writable=True)
    return None


def release(array: Any) -> None:
    """Take the pages of an `array` in a mapped file out of this process.

    Those of `new_array` are written to the disk first, and leave the system's cache, too. If the
    array is not contiguous, all pages of its file go. Arrays in memory are not affected.
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
    if pages.writable:
        pages.write(rows)
        pages.evict(rows)
    else:
        pages.drop_mapping(rows)


def _shared_mapping(array: Any) -> mmap.mmap | None:
    """Return the mapping that contains `array`, unless its pages are the only copy of the data."""
    base = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            mapping: mmap.mmap | None = getattr(base, "_mmap", None)
            return None if base.mode == "c" else mapping
        base = base.base
    return base if isinstance(base, Mapping) else None


def _pages_of_memmap(array: Array, origin: np.memmap) -> Pages | None:
    """Return the pages of a view of a `numpy.memmap`; its file is opened again for advice."""
    mapping = getattr(origin, "_mmap", None)
    # The result of a ufunc lies in memory, and pages of mode "c" are the only copy.
    if mapping is None or origin.mode == "c":
        return None
    descriptor = None
    if origin.filename is not None:
        try:
            descriptor = os.open(origin.filename, os.O_RDONLY)
        except OSError:
            descriptor = None  # the file was removed or moved; its pages can still be unmapped
    start = origin.offset - origin.offset % mmap.ALLOCATIONGRANULARITY
    pages = Pages(array, mapping, start, descriptor, writable=False)
    if descriptor is not None:
        weakref.finalize(pages, os.close, descriptor)
    return pages
