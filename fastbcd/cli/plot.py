"""``fastbcd plot``: draw pictures of finished runs, and of runs that are still going on."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

from fastbcd import plots
from fastbcd.cli.output import new_file, writing
from fastbcd.cli.parser import user_path
from fastbcd.cli.prediction import Request, predict
from fastbcd.cli.run_folder import RunFolder
from fastbcd.errors import InputError

# The ending of an interactive page; other endings are those of pictures.
PAGE = ".html"


def add_command(commands: Any) -> None:
    """Add ``plot`` and its options to the command line."""
    parser = commands.add_parser(
        "plot",
        help="draw runs",
        description=(
            "Draw objective, accuracy, constraint violation, subgradients (of runs with --certify) "
            "and time per block, for one run or for several in comparison."
        ),
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    folders = "folders that fastbcd train wrote"
    add("folders", nargs="+", type=user_path, metavar="DIR", help=folders)
    add(
        "--out", type=user_path, metavar="FILE", help="new file, .png, .svg, or .html for a page "
        "that shows values and switches runs; default: plot.png "
        "or confusion.png in DIR, replaced each time; for several runs the next free plot-K.png "
        "in the current folder",
    )  # fmt: skip
    add(
        "--confusion", action="store_true", help="draw the confusion matrix of one finished run, "
        "on its own test set, instead",
    )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Read the runs, draw them, write the picture."""
    folders = [Path(folder) for folder in options.folders]
    if options.confusion and len(folders) > 1:
        raise InputError(f"--confusion: one DIR at a time, got {len(folders)}")
    if options.out is not None:
        out = _new_file(Path(options.out), options.confusion)
    elif len(folders) > 1:
        out = _next_free()
    else:
        out = folders[0] / ("confusion.png" if options.confusion else "plot.png")
    with writing(out):
        if _is_page(out):
            plots.save_page(folders, out)
        else:
            figure = plots.new_figure()
            if options.confusion:
                _draw_confusion(folders[0], figure)
            else:
                plots.plot_runs(folders, figure)
            plots.save_picture(figure, out)
    print(f"drawn in {out}")


def _draw_confusion(path: Path, figure: Any) -> None:
    folder = RunFolder(path)
    prediction = predict(folder, Request())
    if prediction.classes is None:
        raise InputError(f"--confusion is for classes, but {folder.model} predicts numbers")
    if prediction.predicted.ndim == 2:
        raise InputError(
            f"--confusion is for samples of one class, but {folder.model} predicts several labels"
        )
    if prediction.labels is None:
        raise InputError(f"--confusion: {prediction.name} has no labels to compare with")
    figure.set_size_inches(plots.confusion_size(len(prediction.classes)))
    ax = plots.plot_confusion(
        prediction.labels, prediction.predicted, prediction.classes, figure.add_subplot()
    )
    ax.set_title(f"{plots.literal(path.resolve().name)}: {ax.get_title(loc='left')}", loc="left")


def _is_page(path: Path) -> bool:
    return path.suffix.lower() == PAGE


def _new_file(path: Path, confusion: bool) -> Path:
    if confusion or not _is_page(path):
        try:
            plots.picture_form(path)
        except InputError as error:
            page = "" if confusion else f", or in {PAGE} for a page"
            raise InputError(f"--out: {error}{page}") from None
    return new_file(path)


def _next_free() -> Path:
    return next(path for k in itertools.count(1) if not (path := Path(f"plot-{k}.png")).exists())
