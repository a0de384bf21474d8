"""Tables in the format Parquet, by pyarrow."""

from __future__ import annotations

from pathlib import Path

from fastbcd.data.tables.column import Columns, columns_of
from fastbcd.errors import InputError


def read_parquet(path: Path) -> Columns:
    """Return the columns of a file.

    Raises
    ------
    InputError
        pyarrow is not installed, or the file cannot be read.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise InputError(
            f"{path}: Parquet needs pyarrow, which is not installed: pip install 'fastbcd[tables]'"
        ) from None
    try:
        table = parquet.read_table(path)
    except (OSError, ValueError, ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as Parquet: {reason}") from None
    if table.num_rows == 0 or table.num_columns == 0:
        raise InputError(f"{path} has no samples; needed: columns with names and at least one row")
    return columns_of(table, str(path))
