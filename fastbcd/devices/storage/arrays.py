"""Storage of arrays of all samples: in memory, or in files with a few tiles in memory."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.storage.pages import SUPPORTED, new_array, pages_of, release
from fastbcd.devices.storage.prefetcher import Prefetcher
from fastbcd.devices.tiles import Tile
from fastbcd.errors import InputError
from fastbcd.files.atomic import user_path
from fastbcd.support.parameters import plain

Array = NDArray[Any]
Body = Callable[[Tile], None]
Around = Callable[[Body], Body]

MIB = 2**20
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    unit: 1024 ** (power + 1) for power, unit in enumerate(("KIB", "MIB", "GIB", "TIB"))
}
# Machine code, the compiler where kernels are not cached yet, and BLAS's buffers.
CODE_BYTES = 224 * MIB
# A block of rows, when an array is traversed without tiles.
BLOCK_BYTES = 16 * MIB
# At most so many tiles are read ahead or wait to be written. They compensate for changes in the
# speed of the disk and the threads; a pass ends when all of them are written.
MOST_TILES = 16
# At least one tile is being read and one written, besides those of the threads.
LEAST_TILES = 2
# File systems whose files lie in memory.
IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")


class Storage:
    """The place where a device stores arrays of samples: memory, unless a subclass has another."""

    def plan(self, work: int, tile: int, n_threads: int, held: Sequence[Any]) -> None:
        """Check before a run that memory suffices; `InputError` if it does not.

        The run needs `work` bytes besides samples and `tile` bytes per tile, on `n_threads`; `held`
        are the caller's arrays that it reads. Memory itself has no budget.
        """

    def allocate(self, shapes: Sequence[tuple[int, ...]], dtype: Any) -> list[Array]:
        """Make new arrays with arbitrary contents; `InputError` if there is no room for them."""
        return [np.empty(shape, dtype) for shape in shapes]

    def place(self, data: Any, dtype: Any) -> Array:
        """Return `data` (n, ...) as a contiguous array of `dtype` here; copy it only if needed."""
        return np.ascontiguousarray(data, dtype)

    def blocks(self, array: Any) -> Iterator[slice]:
        """Yield slices of rows of `array`, in order; earlier rows may leave memory.

        Read or write each slice before you ask for the next. In memory there is one, of all rows.
        """
        yield slice(0, len(array))

    def done_with(self, array: Any, rows: slice) -> None:
        """Let these rows of `array`, read or written outside a pass, leave memory."""

    def read_by_rows(self, array: Any) -> None:
        """Announce that rows of `array` will be read in any order from now on."""

    def prefetch(self, array: Any, rows: slice) -> None:
        """Announce that these rows of `array` will be read next."""

    def drop_mapping(self, array: Any) -> None:
        """Take all rows of `array` out of this process; the system may keep them in its cache."""

    def stream(
        self, n: int, tile_rows: int, arrays: Sequence[Any], n_threads: int
    ) -> AbstractContextManager[Around]:
        """Return a context whose value wraps the body of a pass over `n` rows of `arrays`."""
        return nullcontext(_unchanged)


class Disk(Storage):
    """Storage of arrays in mapped files; passes over them have a few tiles in memory.

    Parameters
    ----------
    memory : int or str
        Bytes of resident memory that the process may have, see `parse_bytes`.
    folder : str or Path, optional
        Folder of the files, which have no names, so that none is left behind. Default: the
        system's folder for temporary files.

    Raises
    ------
    InputError
        `memory` is not a number of bytes, `folder` cannot be written to or lies in memory, or this
        system takes no advice about pages.
    """

    def __init__(self, memory: int | str, folder: str | Path | None = None) -> None:
        if not SUPPORTED:
            raise InputError("memory: this system cannot be told which pages to keep; leave it out")
        self.memory = parse_bytes(memory, "memory")
        self.folder = str(check_folder(tempfile.gettempdir() if folder is None else folder))
        self._room = 0

    def plan(self, work: int, tile: int, n_threads: int, held: Sequence[Any]) -> None:
        """Compute the bytes that the budget leaves for tiles; `InputError` if they are too few."""
        for array in held:
            pages = pages_of(array)
            if pages is not None:
                pages.evict(slice(0, len(array)))
        process = resident_bytes() + CODE_BYTES
        tiles = max((n_threads + LEAST_TILES) * tile, 2 * BLOCK_BYTES)
        least = process + work + tiles
        if self.memory < least:
            parts = [f"{_mib(part)} MiB" for part in (process, work, tiles)]
            raise InputError(
                f"memory: {_mib(self.memory)} MiB are too few; at least {_mib(least)} MiB are "
                f"needed: {parts[0]} for the process as it is and its machine code, {parts[1]} for "
                f"weights, solves and work arrays, {parts[2]} for {n_threads + LEAST_TILES} tiles "
                "of samples; give more, or fewer n_threads or tile_rows"
            )
        self._room = self.memory - process - work

    def allocate(self, shapes: Sequence[tuple[int, ...]], dtype: Any) -> list[Array]:
        """Make arrays of zeros in files, and reserve their space on the disk; all or none."""
        try:
            return [new_array(self.folder, shape, dtype) for shape in shapes]
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            needed = sum(int(np.prod(shape)) for shape in shapes) * np.dtype(dtype).itemsize
            problem = (
                f"{needed} bytes are needed for arrays of samples, and "
                f"{shutil.disk_usage(self.folder).free} are free ({error.strerror}); make room, "
                "or give another folder"
                if full
                else f"files cannot be made there ({error.strerror}); give another folder"
            )
        # Arrays that were made before the error are gone with the list.
        raise InputError(f"folder: {self.folder}: {problem}")

    def place(self, data: Any, dtype: Any) -> Array:
        """Return `data` itself if it is mapped and has the type; else copy it to a file."""
        dtype = np.dtype(dtype)
        if pages_of(data) is not None and data.dtype == dtype:
            return np.asarray(data)
        (array,) = self.allocate([data.shape], dtype)
        for rows in self.blocks(data):
            array[rows] = data[rows]
            self.done_with(array, rows)
        return array

    def blocks(self, array: Any) -> Iterator[slice]:
        """Yield slices of about `BLOCK_BYTES` each."""
        n, pages = len(array), pages_of(array)
        row_bytes = max(1, array.nbytes // max(n, 1))
        step = max(1, BLOCK_BYTES // row_bytes)
        for start in range(0, n, step):
            rows = slice(start, min(n, start + step))
            if pages is not None:
                pages.prefetch(rows)
            try:
                yield rows
            finally:
                if pages is not None:
                    pages.write(rows)
                    pages.evict(rows)
                else:
                    release(array)  # the rows of a mapped file may not be contiguous

    def done_with(self, array: Any, rows: slice) -> None:
        """Write changes to the disk, and evict the rows."""
        pages = pages_of(array)
        if pages is not None:
            pages.write(rows)
            pages.evict(rows)

    def read_by_rows(self, array: Any) -> None:
        """Turn read-ahead off: only the requested rows are read."""
        pages = pages_of(array)
        if pages is not None:
            pages.read_by_rows()

    def prefetch(self, array: Any, rows: slice) -> None:
        """Let the system start to read the rows."""
        pages = pages_of(array)
        if pages is not None:
            pages.prefetch(rows)

    def drop_mapping(self, array: Any) -> None:
        """Take all rows out of this process."""
        pages = pages_of(array)
        if pages is not None:
            pages.drop_mapping(slice(0, len(array)))

    @contextmanager
    def stream(
        self, n: int, tile_rows: int, arrays: Sequence[Any], n_threads: int
    ) -> Iterator[Around]:
        """Yield a wrapper that calls the body once its tile is in memory.

        Tiles are read ahead as far as the budget has room for them.
        """
        mapped = [(array, pages_of(array)) for array in arrays]
        pages = [part for _, part in mapped if part is not None]
        if not pages:
            yield _unchanged
            return
        tile = sum(tile_rows * array.nbytes // n for array, part in mapped if part is not None)
        window = min(self._room // max(tile, 1), n_threads + MOST_TILES)
        for part in pages:
            part.read_by_rows()
        try:
            window = max(window, n_threads + LEAST_TILES)
            with Prefetcher(pages, n, tile_rows, window) as prefetcher:
                yield prefetcher.around
        finally:
            for part in pages:
                part.read_in_order()


def get_storage(memory: int | str | None, folder: str | Path | None) -> Storage:
    """Return a `Disk` if `memory` is given, else memory; `InputError` for a `folder` alone."""
    if memory is not None:
        return Disk(memory, folder)
    if folder is not None:
        raise InputError("folder: it is for runs out of core; give memory, too, such as '2GiB'")
    return Storage()


def parse_bytes(value: int | str, argument: str) -> int:
    """Return a number of bytes; `value` may be a text such as ``"2GiB"`` or ``"1.5 GB"``.

    KB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB of 1024. An `InputError` names `argument`.
    """
    number: Any = plain(value)
    unit, is_bool = "", isinstance(number, bool)
    if isinstance(number, str):
        text = number.strip()
        digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
        number, unit = digits, text[len(digits) :].strip().upper()
    try:
        size = float(number) * UNITS[unit]
        if is_bool or not 1 <= size < 2**63 or (not unit and size % 1):
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(
            f"{argument} must be a number of bytes or a text such as '2GiB' or '800MB' "
            f"(KB, MB, GB, TB, KiB, MiB, GiB, TiB), got {value!r}"
        ) from None
    return int(size)


def check_folder(folder: str | Path) -> Path:
    """Return the path of `folder`; `InputError` unless it is a writable folder on a disk."""
    try:
        path = user_path(plain(folder)).absolute()
    except TypeError:
        raise InputError(f"folder must be a path, got {folder!r}") from None
    if not path.is_dir():
        raise InputError(f"folder: {path} is not a folder; make it first, or give another")
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"folder: {path} cannot be written to; give another")
    kind = file_system(path)
    if kind in IN_MEMORY:
        raise InputError(
            f"folder: {path} is in memory itself ({kind}); give a folder on a disk, or set TMPDIR"
        )
    return path


def file_system(folder: Path) -> str:
    """Return the kind of file system of `folder`, or "" on a system without ``/proc``."""
    device = os.stat(folder).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = (
            Path("/proc/self/mountinfo")
            .read_text(encoding="utf-8", errors="surrogateescape")
            .splitlines()
        )
    except OSError:
        return ""
    for mount in mounts:
        place, _, system = mount.partition(" - ")
        if place.split()[2] == number:
            return system.split()[0]
    return ""


def resident_bytes() -> int:
    """Return the resident memory of this process now, or 0 on a system without ``/proc``."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * mmap.PAGESIZE


def _unchanged(body: Body) -> Body:
    return body


def _mib(size: int) -> int:
    return -(-size // MIB)
