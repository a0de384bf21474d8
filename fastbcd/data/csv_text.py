"""The text of a CSV file: its compression, its encoding, and the separator of its fields."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from fastbcd.errors import InputError

Row = tuple[int, list[str]]
"""A line number and the fields of that line."""

PACKED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
# Byte-order marks. Those of four bytes come first, because one of them begins like one of two.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SEPARATORS = (",", ";", "\t", "|")
# The separator is found in so many characters and rows at the beginning of a file.
SAMPLE, SAMPLE_ROWS = 2**16, 50
# A line with which Excel declares the separator.
DECLARED = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


def read_rows(path: Path, separator: str | None = None) -> tuple[list[Row], str]:
    """Return the rows of `path` that are not blank, the header's first, and the separator.

    Files may be compressed by gzip, bzip2 or xz. The encoding is UTF-8 unless there is a byte-order
    mark. Unless it is given, the separator is a comma, semicolon, tab or bar: the one that gives
    the header the most columns, with as many in the rows below it.

    Raises
    ------
    InputError
        There is no such file, it is not text, or a quote is not closed.
    """
    form = _form_of(path, separator)
    with _reporting(path), _open(path) as file:
        rows = list(_rows_in(file, form))
    if rows and rows[0][1][0].startswith("\ufeff"):  # a second mark, written by another program
        rows[0][1][0] = rows[0][1][0].removeprefix("\ufeff").strip('"')
    return rows, form.separator


def lengths_of_rows(path: Path, separator: str | None = None) -> tuple[list[str], dict[int, int]]:
    """Return the header, and the line of the first row below it of each number of fields.

    No row is kept in memory. The parameters and errors are those of `read_rows`.
    """
    lines: dict[int, int] = {}
    form = _form_of(path, separator)
    with _reporting(path), _open(path) as file:
        rows = _rows_in(file, form)
        _, header = next(rows, (0, [""]))
        for line, fields in rows:
            lines.setdefault(len(fields), line)
    return header, lines


@dataclass(frozen=True)
class _Form:
    """How fields are separated, if a blank follows, and if a line before the header says so."""

    separator: str
    spaced: bool
    declared: bool


def _form_of(path: Path, separator: str | None) -> _Form:
    """Find the form of a file, of which the user may give the separator."""
    with _reporting(path), _open(path) as file:
        sample = file.read(SAMPLE)
    found, declared = _separator(sample, path)
    separator = found if separator is None else separator
    return _Form(separator, _spaced(sample, separator, declared), declared)


def _rows_in(file: TextIO, form: _Form) -> Iterator[Row]:
    """Yield the rows that are not blank, the header's first."""
    separator, spaced = form.separator, form.spaced
    reader = csv.reader(file, delimiter=separator, skipinitialspace=spaced, strict=True)
    there = ((reader.line_num, row) for row in reader if any(map(str.strip, row)) or row[1:])
    yield from itertools.islice(there, int(form.declared), None)


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
            f"{path} is not a CSV file but a zip archive or an Excel workbook; save it as CSV"
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
            f"{path} cannot be read as CSV: it has zero bytes, which UTF-8 text has not; if it is "
            "UTF-16 without a byte-order mark, save it as UTF-8"
        )
    return "utf-8"


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    encoding = _encoding_of(path)
    with _unpacked(path) as file, io.TextIOWrapper(file, encoding, newline="") as text:
        yield text


def _separator(sample: str, path: Path) -> tuple[str, bool]:
    """Return the separator, and whether a line before the header declares it."""
    declared = DECLARED.fullmatch(sample.removeprefix("\ufeff").split("\n", 1)[0].strip(" \r"))
    if declared:
        return declared[1], True
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
    """Return the first rows of a sample, without a last one that may be cut off."""
    whole = sample if len(sample) < SAMPLE else sample[: sample.rfind("\n") + 1]
    reader = csv.reader(io.StringIO(whole, newline=""), delimiter=separator)
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):  # `read_rows` finds the error again
        rows.extend(itertools.islice(reader, SAMPLE_ROWS))
    return rows


def _spaced(sample: str, separator: str, declared: bool) -> bool:
    """Whether a blank follows each separator of the header, and so is part of the separator."""
    rows = [row for row in _some_rows(sample, separator) if row][declared:]
    return bool(rows) and len(rows[0]) > 1 and all(name.startswith(" ") for name in rows[0][1:])
