"""The shards of a checkpoint: each rank's samples in a file of its own, beside the index.

They lie in a folder that is named like the index, with ``.parts`` at the end. A shard counts once
the index names it. Shards of one checkpoint share a number that no shard of the last one has, so
that they never replace each other. They are removed when no index names them any more.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastbcd.devices.ranks import Ranks, collective_errors
from fastbcd.errors import InputError
from fastbcd.files.atomic import remove_partial, sync_folder
from fastbcd.files.checksummed import ChecksummedFile, Take, write_checksummed
from fastbcd.support.stored import check_state_dict


@dataclass(frozen=True)
class Shard:
    """Samples ``start:stop`` of all, in a file.

    Parameters
    ----------
    file : str
        Its name in the folder; empty: the index itself.
    start, stop : int
        Its samples among those of all ranks.
    checksum : str
        Of its bytes, as it is in the file itself.
    """

    file: str
    start: int
    stop: int
    checksum: str

    def state_dict(self) -> dict[str, Any]:
        """The entry of the index."""
        fields = {"file": self.file, "start": self.start, "stop": self.stop}
        return {**fields, "checksum": self.checksum}

    @classmethod
    def from_state_dict(cls, stored: dict[str, Any]) -> Shard:
        """The shard of the entry `stored`; `InputError` names keys that are wrong."""
        check_state_dict(stored, cls("", 0, 0, "").state_dict(), "Shard")
        return cls(stored["file"], stored["start"], stored["stop"], stored["checksum"])

    def path(self, index: Path) -> Path:
        """Where it lies."""
        return folder_of(index) / self.file if self.file else index


def folder_of(index: Path) -> Path:
    """The folder of a checkpoint's shards."""
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
    folder, name = folder_of(index), f"{number}-{rank}.safetensors"
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
    metadata = {"format": "part", "start": rows[0], "stop": rows[1]}
    return Shard(name, *rows, write_checksummed(folder / name, tensors, metadata, take))


def check_shards(index: Path, shards: list[Shard]) -> None:
    """`OSError` where this rank does not see the shards of others: each has a folder of its own."""
    for shard in shards:
        if not shard.path(index).exists():
            raise OSError(
                f"{shard.path(index)}, which another rank wrote, is not there: all ranks must see "
                "the same folder"
            )


def unused_number(index: Path) -> int:
    """The least number that no shard has, once what a killed run left is removed."""
    remove_unused(index)
    with contextlib.suppress(FileNotFoundError):
        taken = {entry.name.partition("-")[0] for entry in folder_of(index).iterdir()}
        return next(k for k in itertools.count() if str(k) not in taken)
    return 0


def remove_unused(index: Path) -> None:
    """Remove shards that the checkpoint at `index` does not name: older ones, or half written.

    A file that cannot be removed stays; the next call tries again.
    """
    folder, used = folder_of(index), set()
    if not folder.is_dir():
        return
    if index.exists():
        try:
            with ChecksummedFile(index, "checkpoint", verify=False) as file:
                used = {stored["file"] for stored in file.metadata.get("parts", [])}
        except InputError:
            return  # it may name any of them
    for entry in folder.iterdir():
        if entry.name not in used:
            _remove(entry)
    if not used:
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove(index: Path) -> None:
    """Remove a checkpoint: the index first, so that at no time it lacks a shard."""
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
    """Rows ``start:stop`` of the samples of a checkpoint, wherever they lie; a context.

    Entered by all ranks together. Each shard is verified by the rank that holds its first sample.

    Parameters
    ----------
    index : Path
    shards : list of Shard
        All shards, in order.
    start, stop : int
        The samples that this rank needs.
    ranks : Ranks
        Those that read.

    Raises
    ------
    InputError
        On entering, on all ranks: a shard is missing, damaged or of another checkpoint.
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
        # The index itself was verified as it was read.
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
        """The rows of tensor `name`, some at a time: where they go, from 0, and they themselves."""
        for shard, file in zip(self._shards, self._files, strict=True):
            first, last = max(self.start, shard.start), min(self.stop, shard.stop)
            for row, block in file.blocks(name, first - shard.start, last - shard.start):
                place = shard.start + row - self.start
                yield slice(place, place + len(block)), block
