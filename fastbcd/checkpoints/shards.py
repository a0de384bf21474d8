"""The parts of a checkpoint: each rank's samples in a file of its own, in a folder beside the head.

A part counts once the head names it. Parts of one checkpoint share a number that no part of the
last one has, so that they never replace each other; they go when no head names them any more.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastbcd.devices.ranks import Ranks, collective_errors
from fastbcd.errors import InputError
from fastbcd.files.atomic import remove_partial, sync_folder
from fastbcd.files.checksummed import ChecksummedFile, Take, write_checksummed


@dataclass(frozen=True)
class Part:
    """Samples ``start:stop`` of all, in a file.

    Parameters
    ----------
    file : str
        Its name in the folder; empty: the head itself.
    start, stop : int
        Its samples among those of all ranks.
    checksum : str
        Of its bytes, as it is in the file itself.
    """

    file: str
    start: int
    stop: int
    checksum: str

    def path(self, head: Path) -> Path:
        """Where it lies."""
        return folder_of(head) / self.file if self.file else head


def folder_of(head: Path) -> Path:
    """Where the parts of a checkpoint lie."""
    return head.with_name(head.name + ".parts")


def write_part(
    head: Path,
    number: int,
    rank: int,
    rows: tuple[int, int],
    tensors: Mapping[str, Any],
    take: Take | None = None,
) -> dict[str, Any]:
    """Write the samples of one rank; what the head must say of them, as JSON can hold it.

    Parameters
    ----------
    head : Path
        Of the checkpoint.
    number : int
        From `unused_number`, the same on all ranks.
    rank : int
    rows : (int, int)
        First of its samples, and first of the next rank's.
    tensors : mapping of str to array
    take : callable, optional
        As for `write_checksummed`.

    Raises
    ------
    OSError
        It cannot be written.
    """
    folder, name = folder_of(head), f"{number}-{rank}.safetensors"
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
    metadata = {"format": "part", "start": rows[0], "stop": rows[1]}
    return asdict(Part(name, *rows, write_checksummed(folder / name, tensors, metadata, take)))


def check_parts(head: Path, parts: list[dict[str, Any]]) -> None:
    """`OSError` where this rank does not see what others wrote: the folder is not one for all."""
    folder = folder_of(head)
    for part in parts:
        if not (folder / part["file"]).exists():
            raise OSError(
                f"{folder / part['file']}, which another rank wrote, is not there: all ranks must "
                "see the same folder"
            )


def unused_number(head: Path) -> int:
    """The least number that no part has, once what a killed run left is removed."""
    remove_unused(head)
    with contextlib.suppress(FileNotFoundError):
        taken = {entry.name.partition("-")[0] for entry in folder_of(head).iterdir()}
        return next(k for k in itertools.count() if str(k) not in taken)
    return 0


def remove_unused(head: Path) -> None:
    """Remove parts that the checkpoint at `head` does not name: of an older one, or half written.

    What cannot be removed stays; the next time tries again.
    """
    folder, used = folder_of(head), set()
    if not folder.is_dir():
        return
    if head.exists():
        try:
            with ChecksummedFile(head, "checkpoint", verify=False) as file:
                used = {part["file"] for part in file.metadata.get("parts", [])}
        except InputError:
            return  # it may name any of them
    for entry in folder.iterdir():
        if entry.name not in used:
            _remove(entry)
    if not used:
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove(head: Path) -> None:
    """Remove a checkpoint: the head first, so that at no time it lacks a part."""
    head.unlink(missing_ok=True)
    remove_partial(head)
    shutil.rmtree(folder_of(head), ignore_errors=True)


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            entry.unlink()


class Samples:
    """Rows ``start:stop`` of the samples of a checkpoint, wherever they lie; a context.

    Entered by all ranks together. Each part is verified by the rank that holds its first sample.

    Parameters
    ----------
    head : Path
    parts : list of Part
        All parts, in order.
    start, stop : int
        What this rank needs.
    ranks : Ranks
        Those that read.

    Raises
    ------
    InputError
        On entering, on all ranks: a part is missing, damaged or of another checkpoint.
    """

    def __init__(self, head: Path, parts: list[Part], start: int, stop: int, ranks: Ranks) -> None:
        self.start, self.stop = start, stop
        self._head, self._ranks = head, ranks
        self._parts = [part for part in parts if part.start < stop and start < part.stop]
        self._files: list[ChecksummedFile] = []

    def __enter__(self) -> Samples:
        try:
            with collective_errors(self._ranks, apart=True):
                for part in self._parts:
                    self._files.append(self._open(part))
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self, part: Part) -> ChecksummedFile:
        path = part.path(self._head)
        # The head itself was verified as it was read.
        verify = bool(part.file) and self.start <= part.start
        file = ChecksummedFile(path, "checkpoint", verify=verify)
        if file.metadata.get("checksum") != part.checksum:
            file.close()
            raise InputError(f"{path} is not the part that {self._head} names: restore both")
        return file

    def __exit__(self, *exception: object) -> None:
        for file in self._files:
            file.close()

    def blocks(self, name: str) -> Iterator[tuple[slice, Any]]:
        """The rows of tensor `name`, some at a time: where they go, from 0, and they themselves."""
        for part, file in zip(self._parts, self._files, strict=True):
            first, last = max(self.start, part.start), min(self.stop, part.stop)
            for row, block in file.blocks(name, first - part.start, last - part.start):
                place = part.start + row - self.start
                yield slice(place, place + len(block)), block
