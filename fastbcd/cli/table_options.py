"""Options of the command line that say how a table is to be read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastbcd.cli.batches import takes_full_batches
from fastbcd.cli.solver_options import LOSS
from fastbcd.data import Dataset, TableOptions
from fastbcd.data.table import is_table
from fastbcd.data.tables.encodings import ENCODINGS
from fastbcd.data.tables.target import CLASSES, TASKS
from fastbcd.errors import InputError
from fastbcd.kernels import LOSSES
from fastbcd.support.parameters import parse
from fastbcd.trials import MOST

# Defaults for tables that need an encoding: of --hidden, and on mini-batches of --loss for classes
# of few rows, and of --damping if no trials are held.
HIDDEN, LOSS_OF_CLASSES, DAMPING = "64,64", "cross_entropy", 25.0
TAB = ("\\t", "tab")


def add_reading_options(group: Any) -> None:
    """Add what says how a file is written."""
    add = group.add_argument
    add("--separator", metavar="CHAR", help="character between fields, or tab; default: found")
    add(
        "--decimal",
        choices=(".", ","),
        metavar="CHAR",
        help="character before decimals, a point or a comma; default: a comma if a column has no "
        "other numbers, in files that are not separated by commas",
    )


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fastbcd train`` for tables to `parser`."""
    group = parser.add_argument_group(
        "tables", "columns may be numbers, categories, true and false, or dates, with gaps; what "
        "becomes of each is printed before training"
    )  # fmt: skip
    group.add_argument(
        "--column",
        action="append",
        metavar="NAME:KIND",
        help=f"kind of a column, in place of the inferred one: {', '.join(ENCODINGS)}; may be "
        "given several times",
    )
    group.add_argument(
        "--task",
        choices=TASKS,
        help="predict classes, numbers, or several labels, each a target of 0 and 1 or yes and no; "
        "default: numbers if the target holds numbers that are not whole or too many for classes, "
        "if there are several targets, or if --loss is for numbers only; of several targets "
        "labels if they hold yes and no, or if --loss is for classes",
    )
    group.add_argument(
        "--weights",
        metavar="COLUMN",
        help="column with a number of at least 0 for each row: how often it counts in training, "
        "or its exposure; it is no input",
    )
    add_reading_options(group)


def table_options(options: argparse.Namespace) -> TableOptions:
    """The options of ``fastbcd train`` that describe a table.

    Raises
    ------
    InputError
        An option has another form, or needs a table.
    """
    if options.data is None or not is_table(Path(options.data)):
        for name in ("column", "task", "weights", "separator", "decimal"):
            if getattr(options, name) is not None:
                raise InputError(f"--{name} needs a table, but DATA is {options.data or 'digits'}")
    kinds = {}
    for text in options.column or ():
        name, colon, kind = text.rpartition(":")
        if not colon or kind not in ENCODINGS:
            raise InputError(
                f"--column must be NAME:KIND with one of {', '.join(ENCODINGS)}, got {text!r}"
            )
        if name in kinds:
            raise InputError(f"--column names the column {name!r} twice")
        kinds[name] = kind
    loss = parse(options.loss or LOSS, LOSSES, "loss")
    return TableOptions(
        kinds=kinds,
        task=options.task,
        prefer_numbers=(loss.in_target_units and loss.name != "squared") or loss.log_link,
        prefer_classes=not loss.is_for_numbers,
        separator=separator_of(options),
        decimal=options.decimal,
        scaling="clipped" if options.preprocess == "auto" else options.preprocess,
        weights=options.weights,
    )


def choose_for_table(options: argparse.Namespace, dataset: Dataset, trials: bool) -> None:
    """Give options that were not given the defaults for a table that needed an encoding.

    Such tables have few rows and much noise. `HIDDEN` was better there than the default for other
    data, `LOSS_OF_CLASSES` for so few rows that there may be trials, and `DAMPING` where there are
    no `trials`, on inner splits (docs/tables.md).
    """
    if dataset.encoding is None:
        return
    if options.hidden is None and options.layers is None:
        options.hidden = HIDDEN
    if takes_full_batches(options):
        return
    if options.loss is None and dataset.task == CLASSES and dataset.n_train < MOST:
        options.loss = LOSS_OF_CLASSES
    if options.damping is None and not trials:
        options.damping = DAMPING


def separator_of(options: argparse.Namespace) -> str | None:
    """The separator, in which ``tab`` stands for a tabulator."""
    return "\t" if options.separator in TAB else options.separator
