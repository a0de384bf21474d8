"""The options of ``fastbcd train``."""

from __future__ import annotations

import argparse

from fastbcd.cli.batches import takes_full_batches
from fastbcd.cli.early_stopping import add_early_stopping_options
from fastbcd.cli.parser import option_of, user_path
from fastbcd.cli.solver_options import add_solver_options
from fastbcd.cli.table_options import add_table_options
from fastbcd.data import FORMS, PREPROCESSINGS
from fastbcd.problem.initialization import INITIALIZATIONS
from fastbcd.support.parameters import optional, parse, require_integer

BALANCED = "balanced"


class Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help that shows defaults, except where an option has none or names its own."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fastbcd train`` to `parser`."""
    add = parser.add_argument
    data = f"{FORMS}; without it, scikit-learn's digits"
    add("data", nargs="?", type=user_path, metavar="DATA", help=data)
    add("--target", metavar="COLUMN", help="column of a table that holds the labels, or the "
        "number to predict; several numbers, or labels: A,B")  # fmt: skip
    add(
        "--test-fraction",
        type=float,
        default=0.2,
        help="share of the digits or of a CSV that is held out",
    )
    add_table_options(parser)
    add("--preprocess", choices=PREPROCESSINGS, default="auto", help="scaling of the inputs")
    add_solver_options(parser)
    add(
        "--class-weight", choices=[BALANCED], help="weights of samples that make up for the "
        "frequencies of classes: n / (k n_c) for a class of n_c samples; default: none",
    )  # fmt: skip
    add("--no-trials", action="store_true", help="hold no trials: with 100 to 19,999 training "
        "samples two or three short runs on a part of them choose --damping, --batch-size and "
        "--epochs, if none of these and --schedule is given")  # fmt: skip
    add_early_stopping_options(parser)
    add("--seed", type=int, default=0, help="seed of the initial weights")
    add(
        "--evaluate-every",
        type=int,
        default=1,
        metavar="K",
        help="measure objective and accuracy every K iterations",
    )
    add("--out", type=user_path, metavar="DIR", help="new folder for the run; default: runs/DATA-K")
    add(
        "--checkpoint-every", type=int, metavar="K", help="save the whole state every K "
        "iterations; default: only when the run is interrupted",
    )  # fmt: skip
    add(
        "--resume", type=user_path, metavar="DIR", help="go on with the run in DIR, with its own "
        "options; if its DATA has moved, name the new place",
    )  # fmt: skip
    add("--quiet", action="store_true", help="show no progress and no summary")
    add(
        "--memory", metavar="SIZE", help="keep samples and states in files, and at most SIZE, such "
        "as 2GiB, of them in memory; under mpiexec each rank has its own SIZE",
    )  # fmt: skip
    add("--memory-folder", type=user_path, metavar="DIR", help="folder of these files, on a "
        "disk; default: the folder for temporary files")  # fmt: skip


def check_options(options: argparse.Namespace) -> None:
    """`InputError` for options that neither the solver nor the parser checks."""
    require_integer(options.epochs, "--epochs", at_least=1)
    require_integer(options.seed, "--seed", at_least=0)
    require_integer(options.evaluate_every, "--evaluate-every", at_least=1)
    for name in ("certify", "checkpoint_every"):
        optional(require_integer, getattr(options, name), option_of(name), at_least=1)
    if takes_full_batches(options):
        parse(options.init, INITIALIZATIONS, "init")
