"""The data of a run that pictures need: its name, its options and the columns of its history."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.errors import InputError
from fastbcd.files.atomic import user_path
from fastbcd.support.floating_point import own_errstate
from fastbcd.training.loop import Record, Result

# Options that distinguish runs in a legend, the most important first.
TELLING = ("data", "algorithm", "hidden", "activation", "loss", "batch_size")
# Options that say where or how a run was made, but do not distinguish it.
UNTELLING = {"fastbcd", "epochs", "evaluate_every", "certify", "threads", "quiet", "out", "columns"}
# Options whose values need no name beside them.
SELF_EVIDENT = {"data", "algorithm", "activation", "loss"}
MOST_OPTIONS = 5


@dataclass
class Run:
    """The history of one run, by columns.

    Attributes
    ----------
    name : str
        Name of the run in legends and errors.
    columns : dict
        Name -> (T,) float64 array with one entry per row of history; NaN if it was not measured.
    config : dict
        Options of the command line; empty for a run in memory.
    """

    name: str
    columns: dict[str, NDArray[np.float64]]
    config: dict[str, Any] = field(default_factory=dict)

    def measured(self, name: str, against: str = "iteration") -> tuple[Any, Any]:
        """Columns `against` and `name` in the rows in which both were measured (maybe none)."""
        y = self.columns.get(name)
        if y is None:
            return np.empty(0), np.empty(0)
        x = self.columns[against]
        rows = np.isfinite(y) & np.isfinite(x)
        return x[rows], y[rows]


@own_errstate
def read_runs(runs: Any) -> list[Run]:
    """Read one or several runs: folders, results, histories.

    Parameters
    ----------
    runs : run, sequence of runs, or dict of name -> run
        A run is the path of a folder that ``fastbcd train`` wrote, a `Result`, a history
        (list of dict), or a `Run`.

    Raises
    ------
    InputError
        There is no such folder, a history has no rows or a damaged one, or `runs` is no run.
    """
    named: list[tuple[str | None, Any]]
    if isinstance(runs, Mapping):
        named = [(str(name), run) for name, run in runs.items()]
    elif _is_one(runs):
        named = [(None, runs)]
    elif isinstance(runs, Iterable):
        named = [(None, run) for run in runs]
    else:
        raise InputError(f"runs: a run folder, a result or a history is needed, got {runs!r}")
    if not named:
        raise InputError("runs: at least one is needed")
    read = [_read(run, name or f"run {k}") for k, (name, run) in enumerate(named, start=1)]
    if len(read) > 1:
        for run, (name, _), own in zip(read, named, _distinct(read), strict=True):
            run.name = run.name if name else own
    return read


def _is_one(runs: Any) -> bool:
    if isinstance(runs, str | Path | Result | Run):
        return True
    return isinstance(runs, Sequence) and bool(runs) and isinstance(runs[0], Mapping)


def _read(run: Any, name: str) -> Run:
    if isinstance(run, Run):
        return Run(run.name, run.columns, run.config)
    if isinstance(run, str | Path):
        return _read_folder(user_path(run))
    if isinstance(run, Result):
        return _of_records(name, run.history)
    if isinstance(run, Sequence) and all(isinstance(record, Mapping) for record in run):
        return _of_records(name, run)
    raise InputError(f"{name}: a run folder, a result or a history is needed, got {run!r}")


def _of_records(name: str, records: Sequence[Record]) -> Run:
    if not records:
        raise InputError(f"{name}: its history has no rows, so there is nothing to draw")
    if not all("iteration" in record for record in records):
        raise InputError(f"{name}: a row of its history has no 'iteration'")
    names = dict.fromkeys(key for record in records for key in record)
    try:
        columns = {
            key: np.array([record.get(key, np.nan) for record in records], np.float64)
            for key in names
        }
    except (TypeError, ValueError):
        raise InputError(f"{name}: its history holds something that is not a number") from None
    return Run(name, columns)


def _read_folder(folder: Path) -> Run:
    path = folder / "history.csv"
    try:
        text = path.read_text(encoding="utf-8")
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        file = Path(error.filename).name
        raise InputError(f"{folder} is not a run folder: it has no {file}") from None
    except NotADirectoryError:
        raise InputError(f"{folder} is a file; name the folder that fastbcd train wrote") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} cannot be used: {error}") from None
    # A run that is still going on may be in the middle of its last row.
    rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    header, rows = (rows[0], rows[1:]) if rows else ([], [])
    if "iteration" not in header:
        raise InputError(f"{path} is not the history of a run: it has no column 'iteration'")
    if not rows:
        raise InputError(f"{path} has no rows yet; train for one iteration at least")
    table = np.full((len(rows), len(header)), np.nan)
    for k, row in enumerate(rows):
        if len(row) != len(header):
            raise InputError(
                f"{path}, line {k + 2}: {len(row)} fields, but the header has {len(header)}"
            )
        for j, entry in enumerate(row):
            try:
                table[k, j] = float(entry) if entry else np.nan
            except ValueError:
                raise InputError(
                    f"{path}, line {k + 2}: {header[j]} is {entry!r}, which is no number"
                ) from None
    columns = {name: table[:, j] for j, name in enumerate(header)}
    config = config if isinstance(config, dict) else {}
    if "batch_size" in config and config["batch_size"] is None:
        config["batch_size"] = "full"  # earlier versions wrote null
    return Run(folder.resolve().name, columns, config)


def _distinct(runs: Sequence[Run]) -> list[str]:
    """Names of runs, with the most important options in which they differ."""
    if not all(run.config for run in runs):
        return [run.name for run in runs]

    def differs(key: str) -> bool:
        return len({json.dumps(run.config.get(key)) for run in runs}) > 1

    others = dict.fromkeys(key for run in runs for key in run.config if key not in UNTELLING)
    # With other data or in batches, runs have other defaults, too, which nobody chose.
    differing = [key for key in TELLING if differs(key)] or [key for key in others if differs(key)]
    return [f"{run.name}: {options_of(run, differing[:MOST_OPTIONS])}" for run in runs]


def options_of(run: Run, names: Sequence[str] = TELLING) -> str:
    """The options called `names` in words, as far as the run has them."""
    given = {name: run.config.get(name) for name in names}
    words = [
        _short(value) if name in SELF_EVIDENT else f"{name.replace('_', ' ')} {_short(value)}"
        for name, value in given.items()
        if value is not None
    ]
    return ", ".join(words) or "defaults"


def _short(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    text = Path(text).name if "/" in text and Path(text).is_absolute() else text
    return text if len(text) <= 24 else f"{text[:23]}…"
