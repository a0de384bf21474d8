"""``fastbcd predict``: predict labels of new samples with the model of a finished run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastbcd.cli.output import write_text
from fastbcd.cli.parser import user_path
from fastbcd.cli.prediction import predict
from fastbcd.cli.run_folder import RunFolder
from fastbcd.data import FORMS
from fastbcd.errors import InputError
from fastbcd.files.atomic import write_atomically


def add_command(commands: Any) -> None:
    """Add ``predict`` and its options to the command line."""
    parser = commands.add_parser(
        "predict",
        help="predict with a trained network",
        description=(
            "Predict class labels with the model of a run. If the data has labels, the accuracy is "
            "printed. Predictions go to --out. Without --out they go to standard output, and "
            "nothing else does, if there are no labels or if --proba is given."
        ),
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("folder", type=user_path, metavar="DIR", help="a folder that fastbcd train wrote")
    add(
        "data",
        nargs="?",
        type=user_path,
        metavar="DATA",
        help=f"{FORMS}; without it, the run's own test set",
    )
    add("--target", metavar="COLUMN", help="column of a CSV with labels; default: the run's own")
    add("--out", type=user_path, metavar="FILE", help="new CSV file for the predictions")
    add("--proba", action="store_true", help="also write the probability of each class")
    add("--threads", type=int, help="number of threads; default: as many as BLAS would use")


def run(options: argparse.Namespace) -> None:
    """Predict, compare with the labels if there are any, and write."""
    if options.out is not None and Path(options.out).exists():
        raise InputError(f"--out: {options.out} exists already; name a new file")
    folder = RunFolder(Path(options.folder))
    prediction = predict(folder, options.data, options.target, options.threads, options.proba)
    columns: dict[str, list[Any]] = {"prediction": prediction.predicted.tolist()}
    if options.proba:
        names = [f"probability of {label}" for label in prediction.classes.tolist()]
        columns |= dict(zip(names, prediction.probabilities.T.tolist(), strict=True))

    if options.out is not None:
        try:
            write_atomically(Path(options.out), _table(columns))
        except OSError as error:
            raise InputError(f"--out: {options.out} cannot be written: {error}") from None
    elif prediction.labels is None or options.proba:
        write_text(_table(columns))
        return
    if prediction.labels is not None:
        n = len(prediction.predicted)
        print(f"{prediction.name}: accuracy {prediction.accuracy!r} on {n} samples")


def _table(columns: dict[str, list[Any]]) -> bytes:
    """The columns as CSV in UTF-8, which keeps every label as it is."""
    rows = zip(*columns.values(), strict=True)
    lines = [["sample", *columns], *([sample, *row] for sample, row in enumerate(rows))]
    text = "".join(",".join(map(_field, line)) + "\n" for line in lines)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        label = text[error.start : error.end]
        raise InputError(f"a label holds {label!r}, which is no character of UTF-8") from None


def _field(value: Any) -> str:
    """A field as the csv module writes it; a carriage return is quoted, too."""
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text
