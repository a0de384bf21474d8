"""NumPy archives with X_train, y_train, X_test, y_test, and folders of them."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastbcd.data.names import NAMES, by_role
from fastbcd.data.npy import read_header
from fastbcd.data.reading import Sets
from fastbcd.data.source import Forward, Source
from fastbcd.errors import InputError

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
# Of a member: the size of its header, and where that has the lengths of name and extra field,
# which lie between it and the content.
HEADER, NAME, EXTRA = 30, slice(26, 28), slice(28, 30)


@dataclass(frozen=True)
class Member(Source):
    """The array `member` of an archive.

    Stored ones lie in the archive as in a file of their own, from byte `at` on. Compressed ones are
    read from their beginning, and `at` is 0.
    """

    member: str = ""
    at: int = 0

    has_checksum = True

    def map(self, rows: slice) -> Any:
        """`rows` as they lie in the file; None where they are compressed."""
        return super().map(rows) if self.at else None

    def verify(self) -> None:
        """Read all of it."""
        for _ in self.pieces(slice(0, len(self))):
            pass

    @contextlib.contextmanager
    def _open(self, rows: slice) -> Iterator[Forward]:
        if self.at and (rows.start > 0 or rows.stop < len(self)):
            with super()._open(rows) as stream:
                yield stream
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                yield Forward(file, self.at)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        with _reporting(self.path):
            yield

    def _truncated(self, size: int) -> InputError:
        return _too_short(self.path, self.member)

    def _check_end(self, stream: Forward) -> None:
        stream.read(1)  # where there is none the checksum is compared


def _too_short(path: Path, member: str) -> InputError:
    return InputError(f"{path} cannot be read as an .npz archive: {member} is truncated")


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    # The last two: encrypted, and compressed by a method that is not known.
    except (
        *(OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error),
        *(RuntimeError, NotImplementedError),
    ) as error:
        raise InputError(f"{path} cannot be read as an .npz archive: {error}") from None


def open_npz(path: Path, required: tuple[str, ...]) -> dict[str, Source]:
    """Those of `NAMES` that the archive has, each as a source.

    Raises
    ------
    InputError
        Not an archive, or one that lacks a `required` array; damage is found where it is read.
    """
    with _reporting(path):
        with path.open("rb") as file:
            magic = file.read(4)
        if magic not in ZIP_MAGIC:
            raise InputError(f"{path} is not an .npz archive; make one with numpy.savez")
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            roles = by_role(members, str(path))
            for name in required:
                if name not in roles:
                    present = ", ".join(members) or "nothing"
                    raise InputError(f"{path} has no array {name}; it holds {present}")
            return {
                role: _open_member(path, archive, members[name], name)
                for role, name in roles.items()
            }


def _open_member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Member:
    with archive.open(info) as file:
        shape, dtype, fortran, offset = read_header(file)  # type: ignore[arg-type]
    at = 0
    if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
        with path.open("rb") as raw:
            raw.seek(info.header_offset)
            header = raw.read(HEADER)
        lengths = (int.from_bytes(header[part], "little") for part in (NAME, EXTRA))
        at = info.header_offset + HEADER + sum(lengths)
    where = f"{name} of {path}"
    source = Member(where, path, shape, dtype, at + offset, fortran, info.filename, at)
    if info.file_size < source.end - at:
        raise _too_short(path, info.filename)
    return source


def open_archive(path: Path, training: bool) -> Sets:
    """The four arrays of `path`; for prediction X_test alone is enough."""
    arrays = open_npz(path, NAMES if training else ("X_test",))
    return Sets.of(path.stem, training, lambda name: [arrays[name]] if name in arrays else [])


def open_shards(folder: Path, training: bool) -> Sets:
    """The archives of `folder` in the order of their names, samples numbered through.

    Each has X_train and y_train; those that have X_test and y_test, too, make the test set.
    """
    shards = [
        open_npz(path, ("X_train", "y_train") if training else ()) for path in shards_of(folder)
    ]
    for arrays in shards:
        for X, y in (("X_test", "y_test"), ("y_test", "X_test")):
            lacks = X in arrays and y not in arrays
            if lacks and (training or any(y in others for others in shards)):
                raise InputError(f"{arrays[X].path} has {X}, but no {y}")
    if not any("X_test" in arrays for arrays in shards):
        raise InputError(f"{folder}: none of its {len(shards)} .npz archives has X_test")
    return Sets.of(
        folder.resolve().name,
        training,
        lambda name: [arrays[name] for arrays in shards if name in arrays],
    )


def shards_of(folder: Path) -> list[Path]:
    """Archives in `folder`, by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() == ".npz" and path.is_file() and not path.name.startswith(".")
    )
