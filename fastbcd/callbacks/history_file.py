"""Callback that writes one CSV row per iteration, as it happens."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fastbcd.files import user_path, write_atomically
from fastbcd.fit import Callback, Record, Result, Solver

COLUMNS = ("iteration", "seconds", "objective", "train_accuracy", "test_accuracy")


class HistoryFile(Callback):
    """Writes `COLUMNS` of each record to `path`; a quantity not measured is an empty field.

    A run that goes on from a checkpoint starts the file anew with the rows up to there; else the
    file must not exist yet.

    Parameters
    ----------
    path : str or Path
    more : sequence of str
        Further columns, to the right of these.
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
        self._file = self.path.open("a" if past else "x", newline="", encoding="utf-8")
        self._writer = self._write(self._file, [], header=not past)

    def _write(self, file: TextIO, records: list[Record], header: bool = True) -> Any:
        writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
        if header:
            writer.writeheader()
        for record in records:
            writer.writerow({name: _shortest(value) for name, value in record.items()})
        return writer

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> None:
        try:
            self._writer.writerow({name: _shortest(value) for name, value in record.items()})
            self._file.flush()
        except OSError as error:
            raise OSError(f"{self.path} cannot be written: {error.strerror}") from error

    def on_end(self, result: Result) -> None:
        self._file.close()


def _shortest(value: object) -> str:
    """The shortest text that reads back as the same number, NumPy's scalars included."""
    return repr(value.item() if isinstance(value, np.generic) else value)
