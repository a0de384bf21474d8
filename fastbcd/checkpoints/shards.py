"""The shards of a checkpoint: each rank's samples in a file of its own, beside the index.

They lie in a folder with the name of the index and ``.parts`` at the end. A shard is valid once the
index names it. Shards of one checkpoint share a number that no shard of the last one has, so they
never replace each other. They are removed when the index does not name them any more.
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
from fastbcd.support.stored import check_state_dict


@dataclass(frozen=True)
class Shard:
    """Samples ``start:stop`` of all ranks' samples, in a file.

    Parameters
    ----------
    file : str
        Name of the file in the folder; empty for the index itself.
    start, stop : int
        Range of its samples among those of all ranks.
    checksum : str
        Checksum of its bytes, which the file itself has, too.
    """

    file: str
    start: int
    stop: int
    checksum: str

    def state_dict(self) -> dict[str, Any]:
        """Return the entry of the index."""
        return asdict(self)

    @classmethod
    def from_state_dict(cls, stored: dict[str, Any]) -> Shard:
        """Return the shard of the entry `stored`; `InputError` names wrong keys."""
        check_state_dict(stored, cls("", 0, 0, "").state_dict(), "Shard")
        return cls(**stored)

    def path(self, index: Path) -> Path:
        """Return the path of the file, given that of the `index`."""
        return folder_of(index) / self.file if self.file else index


def folder_of(index: Path) -> Path:
    """Return the folder of a checkpoint's shards."""
    return index.with_name(index.name + ".parts")


def write_shard(
    index: Path,
    number: int,
    rank: int,
    rows: tuple[int, int],
    tensors: Mapping[str, Any],
    take: Take | None = None,
) -> Shard:
    """Write the samples of one rank.

    Parameters
    ----------
    index : Path
        Path of the checkpoint's index.
    number : int
        A number from `unused_number`, the same on all ranks.
    rank : int
    rows : (int, int)
        Numbers of its first sample and of the next rank's first sample.
    tensors : mapping of str to array
    take : callable, optional
        As for `write_checksummed`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    folder, name = folder_of(index), f"{number}-{rank}.safetensors"
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
    metadata = {"format": "part", "start": rows[0], "stop": rows[1]}
    return Shard(name, *rows, write_checksummed(folder / name, tensors, metadata, take))


def check_shards(index: Path, shards: list[Shard]) -> None:
    """Raise `OSError` if this rank does not see the shards of others, in another folder."""
    for shard in shards:
        if not shard.path(index).exists():
            raise OSError(
                f"{shard.path(index)}, which another rank wrote, is not there: all ranks must see "
                "the same folder"
            )


def unused_number(index: Path) -> int:
    """Return the least number that no shard has, after removal of those of a killed run."""
    remove_unused(index)
    with contextlib.suppress(FileNotFoundError):
        taken = {entry.name.partition("-")[0] for entry in folder_of(index).iterdir()}
        return next(k for k in itertools.count() if str(k) not in taken)
    return 0


def remove_unused(index: Path) -> None:
    """Remove shards that the checkpoint at `index` does not name: old or incomplete ones.

    If a file cannot be removed, the next call tries again.
    """
    folder, used = folder_of(index), set()
    if not folder.is_dir():
        return
    if index.exists():
        try:
            with ChecksummedFile(index, "checkpoint", verify=False) as file:
                used = {stored["file"] for stored in file.metadata.get("parts", [])}
        except InputError:
            return  # a damaged index may name any of them
    for entry in folder.iterdir():
        if entry.name not in used:
            _remove(entry)
    if not used:
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove(index: Path) -> None:
    """Remove a checkpoint, the index first, so that no index ever lacks a shard."""
    index.unlink(missing_ok=True)
    remove_partial(index)
    shutil.rmtree(folder_of(index), ignore_errors=True)


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            entry.unlink()


class Samples:
    """A context with rows ``start:stop`` of the samples of a checkpoint, from any of its files.

    All ranks enter it together. The rank with the first sample of a shard verifies the shard.

    Parameters
    ----------
    index : Path
    shards : list of Shard
        All shards, in order.
    start, stop : int
        The samples that this rank needs.
    ranks : Ranks
        The ranks that read.

    Raises
    ------
    InputError
        A shard is missing, damaged or of another checkpoint; all ranks raise it on entry.
    """

    def __init__(
        self, index: Path, shards: list[Shard], start: int, stop: int, ranks: Ranks
    ) -> None:
        self.start, self.stop = start, stop
        self._index, self._ranks = index, ranks
        self._shards = [shard for shard in shards if shard.start < stop and start < shard.stop]
        self._files: list[ChecksummedFile] = []

    def __enter__(self) -> Samples:
        try:
            with collective_errors(self._ranks, apart=True):
                for shard in self._shards:
                    self._files.append(self._open(shard))
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self, shard: Shard) -> ChecksummedFile:
        path = shard.path(self._index)
        # `read` has verified the index itself.
        verify = bool(shard.file) and self.start <= shard.start
        file = ChecksummedFile(path, "checkpoint", verify=verify)
        if file.metadata.get("checksum") != shard.checksum:
            file.close()
            raise InputError(f"{path} is not the shard that {self._index} names: restore both")
        return file

    def __exit__(self, *exception: object) -> None:
        for file in self._files:
            file.close()

    def blocks(self, name: str) -> Iterator[tuple[slice, Any]]:
        """Yield the rows of tensor `name` in blocks, each with its place, counted from `start`."""
        for shard, file in zip(self._shards, self._files, strict=True):
            first, last = max(self.start, shard.start), min(self.stop, shard.stop)
            for row, block in file.blocks(name, first - shard.start, last - shard.start):
                place = shard.start + row - self.start
                yield slice(place, place + len(block)), block
