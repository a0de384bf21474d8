"""``fastbcd predict``: predict labels or numbers for new samples with a run's model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastbcd.cli.output import new_file, write_text, writing
from fastbcd.cli.parser import user_path
from fastbcd.cli.prediction import Prediction, Request, predict
from fastbcd.cli.run_folder import RunFolder
from fastbcd.cli.table_options import add_reading_options, separator_of
from fastbcd.data import FORMS
from fastbcd.errors import InputError
from fastbcd.files.atomic import write_atomically


def add_command(commands: Any) -> None:
    """Add ``predict`` and its options to the command line."""
    parser = commands.add_parser(
        "predict",
        help="predict with a trained network",
        description=(
            "Predict classes, numbers or several labels with the model of a run. If the data has "
            "the right ones, the accuracy or R2 is printed. A table may have its columns in any "
            "order, unknown categories and gaps. Predictions go to --out. Without --out they go to "
            "standard output, and nothing else does, if the right ones are unknown or if --proba "
            "is given."
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
    add("--target", metavar="COLUMN", help="column of a table with labels; default: the run's own")
    add("--out", type=user_path, metavar="FILE", help="new CSV file for the predictions")
    add("--proba", action="store_true", help="also write the probability of each class or label")
    add_reading_options(parser)
    add("--threads", type=int, help="number of threads; default: as many as BLAS would use")


def run(options: argparse.Namespace) -> None:
    """Predict, compare with the labels if there are any, and write."""
    out = None if options.out is None else new_file(options.out)
    folder = RunFolder(Path(options.folder))
    request = Request(
        options.data,
        options.target,
        options.threads,
        options.proba,
        separator_of(options),
        options.decimal,
    )
    prediction = predict(folder, request)
    columns = _predictions(prediction)
    if options.proba:
        names = [f"probability of {label}" for label in prediction.classes.tolist()]
        columns |= dict(zip(names, prediction.probabilities.T.tolist(), strict=True))

    if out is not None:
        with writing(out):
            write_atomically(out, _table(columns))
    elif prediction.labels is None or options.proba:
        write_text(_table(columns))
        return
    if prediction.labels is not None:
        n, classes = len(prediction.predicted), prediction.classes is not None
        score = f"accuracy {prediction.accuracy!r}" if classes else f"R2 {prediction.r2!r}"
        print(f"{prediction.name}: {score} on {n} samples")


def _predictions(prediction: Prediction) -> dict[str, list[Any]]:
    """The columns of predictions; several numbers or labels have the names of their targets."""
    if prediction.predicted.ndim == 1:
        return {"prediction": prediction.predicted.tolist()}
    values = prediction.predicted.T.tolist()
    if len(values) == 1:
        return {"prediction": values[0]}
    names = [f"prediction of {name or k}" for k, name in enumerate(prediction.targets)]
    return dict(zip(names, values, strict=True))


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
