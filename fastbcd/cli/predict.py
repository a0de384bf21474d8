"""``fastbcd predict``: labels for new samples from a finished run."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path
from typing import Any

from fastbcd.cli.prediction import predict
from fastbcd.cli.run_folder import RunFolder
from fastbcd.data import FORMS
from fastbcd.errors import InputError
from fastbcd.files import write_atomically


def add_command(commands: Any) -> None:
    """Add ``predict`` and its options to the command line."""
    parser = commands.add_parser(
        "predict",
        help="predict with a trained network",
        description=(
            "Predict class labels with the model of a run. Where the data has labels the accuracy "
            "is printed; predictions go to --out, or to standard output where there are no labels."
        ),
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("folder", metavar="DIR", help="a folder that fastbcd train wrote")
    add("data", nargs="?", metavar="DATA", help=f"{FORMS}; without it, the run's own test set")
    add("--target", metavar="COLUMN", help="column of a CSV with labels; default: the run's own")
    add("--out", metavar="FILE", help="new CSV file for the predictions")
    add("--threads", type=int, help="default: as many as BLAS would use")


def run(options: argparse.Namespace) -> None:
    """Predict, compare with labels where there are any, and write."""
    if options.out is not None and Path(options.out).exists():
        raise InputError(f"--out: {options.out} exists already; name a new file")
    folder = RunFolder(Path(options.folder))
    prediction = predict(folder, options.data, options.target, options.threads)

    if options.out is not None:
        try:
            write_atomically(Path(options.out), _table(prediction.predicted).encode())
        except OSError as error:
            raise InputError(f"--out: {options.out} cannot be written: {error}") from None
    elif prediction.labels is None:
        print(_table(prediction.predicted), end="")
    if prediction.labels is not None:
        n = len(prediction.predicted)
        print(f"{prediction.name}: accuracy {prediction.accuracy!r} on {n} samples")


def _table(predicted: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sample", "prediction"])
    writer.writerows(enumerate(predicted.tolist()))
    return text.getvalue()
