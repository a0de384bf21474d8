"""NumPy archives with X_train, y_train, X_test and y_test, and folders of such archives."""

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
from fastbcd.data.source import Forward, Source, reporting
from fastbcd.errors import InputError

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
# Size of a member's header, and its bytes with the lengths of the name and the extra field, which
# lie between the header and the content.
HEADER, NAME, EXTRA = 30, slice(26, 28), slice(28, 30)
# RuntimeError: encrypted. NotImplementedError: compressed by an unknown method.
ERRORS: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, RuntimeError)
ERRORS += (zipfile.BadZipFile, zlib.error, NotImplementedError)
FORM = " as an .npz archive"


@dataclass(frozen=True)
class Member(Source):
    """The array `member` of an archive.

    An uncompressed member begins at byte `at` of the archive. A compressed one is read from its
    beginning, and `at` is 0.
    """

    member: str = ""
    at: int = 0

    has_checksum = True
    errors, form = ERRORS, FORM

    def map(self, rows: slice) -> Any:
        """Map `rows` of the file, or return None if they are compressed."""
        return super().map(rows) if self.at else None

    def verify(self) -> None:
        """Read the whole array."""
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

    def _truncated(self, size: int) -> InputError:
        return _too_short(self.path, self.member)

    def _check_end(self, stream: Forward) -> None:
        stream.read(1)  # at the end zipfile compares the checksum


def _too_short(path: Path, member: str) -> InputError:
    return InputError(f"{path} cannot be read as an .npz archive: {member} is truncated")


def open_npz(path: Path, required: tuple[str, ...]) -> dict[str, Source]:
    """Open those of `NAMES` that the archive has.

    Raises
    ------
    InputError
        It is not an archive, or lacks a `required` array. Damage is found when it is read.
    """
    with reporting(path, ERRORS, FORM):
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
    """Open the four arrays of `path`; for prediction (not `training`) X_test is enough."""
    arrays = open_npz(path, NAMES if training else ("X_test",))
    return Sets.of(path.stem, training, lambda name: [arrays[name]] if name in arrays else [])


def open_shards(folder: Path, training: bool) -> Sets:
    """Join the archives of `folder` in the order of their names.

    Each has X_train and y_train; the test set is X_test and y_test of the archives with these. For
    prediction (not `training`) X_test is enough.
    """
    shards = [
        open_npz(path, ("X_train", "y_train") if training else ()) for path in shards_of(folder)
    ]
    for arrays in shards:
        for X, y in (("X_test", "y_test"), ("y_test", "X_test")):
            lacking = X in arrays and y not in arrays
            if lacking and (training or any(y in others for others in shards)):
                raise InputError(f"{arrays[X].path} has {X}, but no {y}")
    if not any("X_test" in arrays for arrays in shards):
        raise InputError(f"{folder}: none of its {len(shards)} .npz archives has X_test")
    return Sets.of(
        folder.resolve().name,
        training,
        lambda name: [arrays[name] for arrays in shards if name in arrays],
    )


def shards_of(folder: Path) -> list[Path]:
    """Return the archives in `folder`, sorted by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() == ".npz" and path.is_file() and not path.name.startswith(".")
    )
