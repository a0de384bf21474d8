"""Callback that writes one CSV row after each iteration."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fastbcd.files.atomic import user_path, write_atomically
from fastbcd.training.loop import Callback, Record, Result, Solver

logger = logging.getLogger("fastbcd")

COLUMNS = ("iteration", "seconds", "objective", "train_accuracy", "test_accuracy")


class HistoryFile(Callback):
    """Writes `COLUMNS` of each record to `path`; what was not measured is an empty field.

    A run that goes on from a checkpoint writes the file anew with the rows up to the checkpoint.
    Otherwise the file must not exist yet. Rows that cannot be written (disk full) do not end the
    run: there is a warning, and they are written together with a later row.

    Parameters
    ----------
    path : str or Path
    more : sequence of str
        Further columns, to the right of `COLUMNS`.
    """

    everywhere = False

    def __init__(self, path: str | Path, more: Sequence[str] = ()) -> None:
        self.path, self.columns = user_path(path), (*COLUMNS, *more)

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        past = self.result.history
        if past:
            rows = io.StringIO(newline="")
            self._write(rows, past)
            write_atomically(self.path, rows.getvalue().encode())
        # Without a buffer, because rows that could not be written are kept in `_rows`.
        self._file: Any = self.path.open("ab" if past else "xb", buffering=0)
        self._size, self._rows, self._failed = self.path.stat().st_size, b"", False
        if not past:
            self._add([], header=True)

    def _write(self, file: TextIO, records: list[Record], header: bool = True) -> None:
        writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
        if header:
            writer.writeheader()
        for record in records:
            writer.writerow({name: _shortest(value) for name, value in record.items()})

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> None:
        self._add([record])

    def _add(self, records: list[Record], header: bool = False) -> None:
        """Write these rows and those that could not be written before: all of them or none."""
        text = io.StringIO(newline="")
        self._write(text, records, header)
        self._rows += text.getvalue().encode()
        try:
            written = 0
            while written < len(self._rows):
                written += self._file.write(self._rows[written:])
            self._size, self._rows, self._failed = self._size + written, b"", False
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
                self._file.seek(self._size)
            if not self._failed:  # warn once, not in each iteration
                logger.warning(
                    "%s cannot be written: %s; its rows are kept for later",
                    self.path,
                    error.strerror,
                )
            self._failed = True

    def on_end(self, result: Result) -> None:
        if self._rows:
            self._add([])
        self._file.close()


def _shortest(value: object) -> str:
    """The shortest text that reads back as the same number, NumPy's scalars included."""
    return repr(value.item() if isinstance(value, np.generic) else value)
