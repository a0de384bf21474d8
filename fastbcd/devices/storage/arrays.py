"""Where arrays of all samples are: in memory, or in files of which a few tiles are in memory."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

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
# Of an array that is gone through by rows without tiles: so much at a time.
BLOCK_BYTES = 16 * MIB
# Tiles that are read ahead or still to be written, at most. They hide that neither the disk nor
# the threads are equally fast all the time; a pass ends when all of them are written.
MOST_TILES = 16
# Besides those of the threads: one that is read, one that is written.
LEAST_TILES = 2
# File systems whose files are memory.
IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")


class Storage(Protocol):
    """What a device needs of the place where arrays of samples are."""

    def plan(self, work: int, tile: int, n_threads: int, held: Sequence[Any]) -> None:
        """Before a run: `work` bytes besides samples, `tile` bytes a tile, on `n_threads`.

        `held` are arrays of the caller's that the run goes through. `InputError` where memory
        does not suffice.
        """

    def allocate(self, shapes: Sequence[tuple[int, ...]], dtype: Any) -> list[Array]:
        """New arrays with arbitrary contents; `InputError` where there is no room for them."""

    def place(self, data: Any, dtype: Any) -> Array:
        """`data` (n, ...) as a contiguous array of that type here; in place where it is one."""

    def blocks(self, array: Any) -> Iterator[slice]:
        """Slices of rows of `array`, in order, to be read or written before the next is asked for.

        What is done need not stay in memory.
        """

    def done_with(self, array: Any, rows: slice) -> None:
        """These rows of `array`, read or written outside a pass, need not stay in memory."""

    def read_by_rows(self, array: Any) -> None:
        """From now on rows of `array` are read in any order."""

    def prefetch(self, array: Any, rows: slice) -> None:
        """These rows of `array` will be read next."""

    def drop_mapping(self, array: Any) -> None:
        """No row of `array` is needed for now; the system may keep those that were read."""

    def stream(
        self, n: int, tile_rows: int, arrays: Sequence[Any], n_threads: int
    ) -> AbstractContextManager[Around]:
        """What to put around the body of a pass over n rows of `arrays`."""


class Memory:
    """Arrays in memory."""

    def plan(self, work: int, tile: int, n_threads: int, held: Sequence[Any]) -> None:
        """Nothing: memory is what the system gives."""

    def allocate(self, shapes: Sequence[tuple[int, ...]], dtype: Any) -> list[Array]:
        """Uninitialised arrays."""
        return [np.empty(shape, dtype) for shape in shapes]

    def place(self, data: Any, dtype: Any) -> Array:
        """`data` as a contiguous array, not copied where it is one already."""
        return np.ascontiguousarray(data, dtype)

    def blocks(self, array: Any) -> Iterator[slice]:
        """All rows at once."""
        yield slice(0, len(array))

    def done_with(self, array: Any, rows: slice) -> None:
        """Nothing: they stay."""

    def read_by_rows(self, array: Any) -> None:
        """Nothing: memory has no order."""

    def prefetch(self, array: Any, rows: slice) -> None:
        """Nothing: they are there."""

    def drop_mapping(self, array: Any) -> None:
        """Nothing: they stay."""

    def stream(
        self, n: int, tile_rows: int, arrays: Sequence[Any], n_threads: int
    ) -> AbstractContextManager[Around]:
        """The body as it is."""
        return nullcontext(_as_it_is)


class Disk:
    """Arrays in mapped files, through which passes go with a few tiles in memory.

    Parameters
    ----------
    memory : int or str
        Bytes of resident memory that the process may have, see `parse_bytes`.
    folder : str or Path, optional
        Where the files are; they have no names, so that nothing is left behind. Default: the
        system's folder for temporary files.

    Raises
    ------
    InputError
        No number of bytes, no folder that can be written to, a folder in memory, or a system
        without the means.
    """

    def __init__(self, memory: int | str, folder: str | Path | None = None) -> None:
        if not SUPPORTED:
            raise InputError("memory: this system cannot be told which pages to keep; leave it out")
        self.memory = parse_bytes(memory, "memory")
        self.folder = str(check_folder(tempfile.gettempdir() if folder is None else folder))
        self._room = 0

    def plan(self, work: int, tile: int, n_threads: int, held: Sequence[Any]) -> None:
        """What the budget leaves for tiles; `InputError` where it is too little for the fewest."""
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
        """Zeros in files whose space on the disk is taken now; all of them or none."""
        try:
            return [new_array(self.folder, shape, dtype) for shape in shapes]
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            needed = sum(int(np.prod(shape)) for shape in shapes) * np.dtype(dtype).itemsize
            # What was allocated until here has gone with the list.
            problem = (
                f"{needed} bytes are needed for arrays of samples, and "
                f"{shutil.disk_usage(self.folder).free} are free ({error.strerror}); make room, "
                "or give another folder"
                if full
                else f"files cannot be made there ({error.strerror}); give another folder"
            )
        raise InputError(f"folder: {self.folder}: {problem}")

    def place(self, data: Any, dtype: Any) -> Array:
        """`data` itself where it is mapped and fits, else copied to a file, block by block."""
        dtype = np.dtype(dtype)
        if pages_of(data) is not None and data.dtype == dtype:
            return np.asarray(data)
        (array,) = self.allocate([data.shape], dtype)
        for rows in self.blocks(data):
            array[rows] = data[rows]
            self.done_with(array, rows)
        return array

    def blocks(self, array: Any) -> Iterator[slice]:
        """Rows of `BLOCK_BYTES` at a time."""
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
                    release(array)  # where rows of a file are not together

    def done_with(self, array: Any, rows: slice) -> None:
        """Written where they changed, and let go of."""
        pages = pages_of(array)
        if pages is not None:
            pages.write(rows)
            pages.evict(rows)

    def read_by_rows(self, array: Any) -> None:
        """Nothing is read besides the rows that are asked for."""
        pages = pages_of(array)
        if pages is not None:
            pages.read_by_rows()

    def prefetch(self, array: Any, rows: slice) -> None:
        """The system starts to read them."""
        pages = pages_of(array)
        if pages is not None:
            pages.prefetch(rows)

    def drop_mapping(self, array: Any) -> None:
        """All rows leave this process."""
        pages = pages_of(array)
        if pages is not None:
            pages.drop_mapping(slice(0, len(array)))

    @contextmanager
    def stream(
        self, n: int, tile_rows: int, arrays: Sequence[Any], n_threads: int
    ) -> Iterator[Around]:
        """The body once its tile is in memory; as many tiles ahead as the budget has room for."""
        mapped = [(array, pages_of(array)) for array in arrays]
        pages = [part for _, part in mapped if part is not None]
        if not pages:
            yield _as_it_is
            return
        tile = sum(tile_rows * array.nbytes // n for array, part in mapped if part is not None)
        window = min(self._room // max(tile, 1), n_threads + MOST_TILES)
        for part in pages:
            part.read_by_rows()
        try:
            with Prefetcher(pages, n, tile_rows, max(window, n_threads + LEAST_TILES)) as stream:
                yield stream.around
        finally:
            for part in pages:
                part.read_in_order()


def get_storage(memory: int | str | None, folder: str | Path | None) -> Memory | Disk:
    """`Disk` where `memory` is given; `InputError` for a folder without it."""
    if memory is not None:
        return Disk(memory, folder)
    if folder is not None:
        raise InputError("folder: it is for runs out of core; give memory, too, such as '2GiB'")
    return Memory()


def parse_bytes(value: int | str, argument: str) -> int:
    """A whole number of bytes, or a text such as ``"2GiB"``, ``"1.5 GB"``, ``"800MB"``.

    KB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB of 1024. `InputError` names `argument`.
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
    """A folder on a disk that can be written to; `InputError` else."""
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
    """The kind of file system of a folder, by ``/proc``; empty where there is none."""
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
    """Resident memory of this process, now; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * mmap.PAGESIZE


def _as_it_is(body: Body) -> Body:
    return body


def _mib(size: int) -> int:
    return -(-size // MIB)
