"""The text of a CSV file: how it is packed, which letters it has, and what separates its fields."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import csv
import gzip
import io
import itertools
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from fastbcd.errors import InputError

Row = tuple[int, list[str]]
"""Line number and fields."""

PACKED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
# Marks at the beginning of a text; those of four bytes first, as one begins like one of two.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SEPARATORS = (",", ";", "\t", "|")
# So much of a file, and so many of its rows, say what separates its fields.
SAMPLE, SAMPLE_ROWS = 2**16, 50
# Excel's way to say it.
SAID = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


def read_rows(path: Path) -> list[Row]:
    """The rows of `path` that are not blank, the header's first.

    Files may be packed by gzip, bzip2 or xz. Text is UTF-8, or what a byte-order mark says. Fields
    are separated by commas, semicolons, tabs or bars: by what makes most columns of the header and
    as many in the rows behind it.

    Raises
    ------
    InputError
        No such file, no text, or quotes that do not close.
    """
    with _reporting(path), _open(path) as file:
        sample = file.read(SAMPLE)
        separator, said = _separator(sample, path)
    with _reporting(path), _open(path) as file:
        spaced = _spaced(sample, separator, said)
        reader = csv.reader(file, delimiter=separator, skipinitialspace=spaced, strict=True)
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row)) or row[1:]]
    rows = rows[1:] if said else rows
    if rows and rows[0][1][0].startswith("\ufeff"):  # two programs each wrote a mark
        rows[0][1][0] = rows[0][1][0].removeprefix("\ufeff").strip('"')
    return rows


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeError as error:
        where = f" ({error.reason})" if isinstance(error, UnicodeDecodeError) else ""
        raise InputError(
            f"{path} cannot be read as CSV: it is not {_encoding_of(path)} text{where}; save it as "
            "UTF-8"
        ) from None
    except (OSError, EOFError, csv.Error, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from None


@contextmanager
def _unpacked(path: Path) -> Iterator[Any]:
    with path.open("rb") as raw:
        magic = raw.read(6)
    if magic.startswith(b"PK"):
        raise InputError(
            f"{path} is no CSV file but a zip archive or an Excel workbook; save it as CSV"
        )
    unpack = next((unpack for start, unpack in PACKED.items() if magic.startswith(start)), None)
    with path.open("rb") if unpack is None else unpack(path) as file:
        yield file


def _encoding_of(path: Path) -> str:
    with _unpacked(path) as file:
        start = file.read(SAMPLE)
    for mark, encoding in MARKS.items():
        if start.startswith(mark):
            return encoding
    if b"\0" in start:
        raise InputError(
            f"{path} cannot be read as CSV: it has zero bytes, as no UTF-8 text has them; if it is "
            "UTF-16 without a byte-order mark, save it as UTF-8"
        )
    return "utf-8"


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    encoding = _encoding_of(path)
    with _unpacked(path) as file, io.TextIOWrapper(file, encoding, newline="") as text:
        yield text


def _separator(sample: str, path: Path) -> tuple[str, bool]:
    """What separates fields, and whether a line says so and is not the header."""
    said = SAID.fullmatch(sample.removeprefix("\ufeff").split("\n", 1)[0].strip(" \r"))
    if said:
        return said[1], True
    first = "\t" if path.name.lower().split(".", 1)[-1].startswith(("tsv", "tab")) else ","

    def columns(separator: str) -> tuple[bool, int, bool]:
        rows = [row for row in _some_rows(sample, separator) if row]
        if not rows:
            return False, 0, separator == first
        header, widths = len(rows[0]), {len(row) for row in rows[1:]}
        even = header > 1 and len(widths) < 2 and all(abs(w - header) <= 1 for w in widths)
        return even, header, separator == first

    return max(SEPARATORS, key=columns), False


def _some_rows(sample: str, separator: str) -> list[list[str]]:
    """The first rows of a sample; the last one may be cut, and is left out where it may."""
    whole = sample if len(sample) < SAMPLE else sample[: sample.rfind("\n") + 1]
    reader = csv.reader(io.StringIO(whole, newline=""), delimiter=separator)
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):  # whoever reads all of it finds it again
        rows.extend(itertools.islice(reader, SAMPLE_ROWS))
    return rows


def _spaced(sample: str, separator: str, said: bool) -> bool:
    """Whether a blank follows each separator of the header, and so belongs to it."""
    rows = [row for row in _some_rows(sample, separator) if row][said:]
    return bool(rows) and len(rows[0]) > 1 and all(name.startswith(" ") for name in rows[0][1:])
