"""``fastbcd predict``: labels for new samples from a finished run."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fastbcd.cli.run_folder import RunFolder
from fastbcd.data import FORMS, load
from fastbcd.errors import InputError
from fastbcd.model import Model


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
    folder = RunFolder(Path(options.folder))
    config = folder.read_config()
    model = Model.load(folder.model)
    own = options.data is None
    dataset = load(
        config.get("data") if own else options.data,
        target=options.target or config.get("target"),
        test_fraction=config.get("test_fraction", 0.2),
        training=False,
        held_out=own,
    )
    if options.out is not None and Path(options.out).exists():
        raise InputError(f"--out: {options.out} exists already; name a new file")
    predicted = model.predict(dataset.X_test, options.threads)

    if options.out is not None:
        try:
            with open(options.out, "x", newline="") as file:
                _write(file, predicted)
        except OSError as error:
            raise InputError(f"--out: {options.out} cannot be written: {error}") from None
    elif dataset.y_test is None:
        _write(sys.stdout, predicted)
    if dataset.y_test is not None:
        accuracy = float(np.mean(predicted == dataset.y_test))
        print(f"{dataset.name}: accuracy {accuracy!r} on {len(predicted)} samples")


def _write(file: TextIO, predicted: Any) -> None:
    writer = csv.writer(file)
    writer.writerow(["sample", "prediction"])
    writer.writerows(enumerate(predicted.tolist()))
