"""``fastbcd train``: read data, train a network, write a run folder."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fastbcd.callbacks import (
    Accuracy,
    BlockTimes,
    Certify,
    HistoryFile,
    Objective,
    Progress,
    SaveCheckpoint,
    StopOnSignal,
)
from fastbcd.checkpoints.checkpoint import read
from fastbcd.cli.parser import user_path
from fastbcd.cli.resume import check_same_columns, data_named, resumed_options
from fastbcd.cli.run_folder import RunFolder
from fastbcd.cli.solver_options import add_solver_options, solver_of, tile_rows_of
from fastbcd.data import FORMS, PREPROCESSINGS, Dataset, Preprocessing, load
from fastbcd.data.labels import classes_of, encode, one_hot
from fastbcd.devices.ranks import collective_errors, get_ranks, on_root
from fastbcd.devices.storage.arrays import get_storage
from fastbcd.kernels.streams import logger, write_line
from fastbcd.models.model import Model
from fastbcd.problem.initialization import INITIALIZATIONS
from fastbcd.solvers.defaults import AnySolver
from fastbcd.support.parameters import parse, require_integer
from fastbcd.support.version import __version__
from fastbcd.training.loop import Callback, Result
from fastbcd.training.loop import run as run_loop


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but for options that have none or name their own."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def add_command(commands: Any) -> None:
    """Add ``train`` and its options to the command line."""
    parser = commands.add_parser(
        "train",
        help="train a network",
        description="Train a classifier by block coordinate descent and write a run folder.",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them to `parser`."""
    add = parser.add_argument
    data = f"{FORMS}; without it, scikit-learn's digits"
    add("data", nargs="?", type=user_path, metavar="DATA", help=data)
    add("--target", metavar="COLUMN", help="column of a CSV that holds the labels")
    add("--test-fraction", type=float, default=0.2, help="of digits or a CSV, held out")
    add("--preprocess", choices=PREPROCESSINGS, default="auto", help="scaling of the inputs")
    add_solver_options(parser)
    add("--seed", type=int, default=0, help="of the initial weights")
    add(
        "--certify", type=int, metavar="EVERY", help="measure the theorems' promises in every "
        "iteration, the subgradient in every EVERY-th",
    )  # fmt: skip
    add("--evaluate-every", type=int, default=1, metavar="K", help="measure every K iterations")
    add("--out", type=user_path, metavar="DIR", help="new folder for the run; default: runs/DATA-K")
    add(
        "--checkpoint-every", type=int, metavar="K", help="save the whole state every K "
        "iterations; without it, only where the run is interrupted",
    )  # fmt: skip
    add(
        "--resume", type=user_path, metavar="DIR", help="go on with the run in DIR, with its own "
        "options; its DATA may have moved: name the new place",
    )  # fmt: skip
    add("--quiet", action="store_true", help="no progress and no summary")
    add(
        "--memory", metavar="SIZE", help="keep samples and states in files, and in memory no more "
        "than SIZE, such as 2GiB, whatever their number; of each rank under mpiexec",
    )  # fmt: skip
    add("--memory-folder", type=user_path, metavar="DIR", help="of these files, on a disk; "
        "default: that of temporary files")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Train until the end or an interruption; the exit status."""
    comm, folder, before = options.comm, None, None
    ranks = get_ranks(comm)
    if options.resume is not None:
        folder = RunFolder(Path(options.resume))
        with collective_errors(ranks):
            options = resumed_options(add_options, options.arguments, folder)
            before = folder.read_config()
    storage = get_storage(options.memory, options.memory_folder)

    def samples(shape: tuple[int, ...], dtype: Any) -> Any:
        return storage.allocate([shape], dtype)[0]

    dataset = load(
        options.data,
        target=options.target,
        target_required=options.target is not None,
        test_fraction=options.test_fraction,
        # Runs of earlier versions, which wrote no columns, were trained on row numbers, too.
        index=before is not None and "columns" not in before,
        ranks=ranks,
        allocate=None if options.memory is None else samples,
        unit=tile_rows_of(options),
    )
    if before is not None:
        with collective_errors(ranks):
            check_same_columns(before, dataset)
    classes = classes_of(dataset.y_train, ranks, dataset.name)
    with collective_errors(ranks):
        train_labels = encode(dataset.y_train, classes, "training set")
        test_labels = encode(dataset.y_test, classes, "test set")
    dataset.y_train = dataset.y_test = None  # their indices take their place
    if 0 in ranks.gather(len(train_labels)) and ranks.rank == 0:
        logger.warning("some ranks have no training samples: use fewer, or smaller --tile-rows")
    preprocessing = Preprocessing.fit(dataset.X_train, options.preprocess, ranks=ranks)
    solver = solver_of(options, (dataset.n_train, dataset.X_train.shape[1]), len(classes), comm)
    _check(options)
    X_train, X_test = (
        preprocessing(X, solver.dtype, out=samples(X.shape, solver.dtype))
        for X in (dataset.X_train, dataset.X_test)
    )
    input_kind = dataset.input_kind
    dataset.X_train = dataset.X_test = None  # unscaled they are not needed any more
    Y_train = one_hot(
        *(train_labels, len(classes)),
        out=samples((len(train_labels), len(classes)), solver.dtype),
    )
    past = None
    if folder is not None and on_root(ranks, folder.checkpoint.exists):
        checkpoint = read(folder.checkpoint, ranks)
        with data_named(before, options.data):
            state, past = checkpoint.restore(solver, X_train, Y_train), checkpoint.past()
        if before is not None and before["data"] != options.data:
            on_root(ranks, partial(folder.write_config, {**before, "data": options.data}))
    else:
        state = solver.init(X_train, Y_train, seed=options.seed, **_initial(options))
        path = None if folder is None else folder.path
        folder = RunFolder(on_root(ranks, lambda: _prepare(path, options, dataset)))

    every, stop = options.evaluate_every, StopOnSignal()
    callbacks: list[Callback] = [
        Objective(every),
        Accuracy("train", X_train, train_labels, every),
        Accuracy("test", X_test, test_labels, every),
        BlockTimes(),
    ]
    if options.certify is not None:
        callbacks.append(Certify(options.certify))
    columns = () if options.certify is None else Certify.columns
    more = ("constraint_gap", *BlockTimes.columns, *columns)
    callbacks.append(HistoryFile(folder.history, more))
    if not options.quiet:
        callbacks.append(Progress())
    save = SaveCheckpoint(folder.checkpoint, options.checkpoint_every)
    callbacks += [save, stop]  # a signal during the last checkpoint is to do no harm
    result = run_loop(solver, state, options.epochs, callbacks, past)
    received = next((number for number in ranks.gather(stop.received) if number), None)
    if received is not None and result.state.iteration < options.epochs:
        if save.failed is not None:
            raise OSError(save.failed)
        if ranks.rank == 0:
            write_line(
                f"fastbcd train: stopped after iteration {result.state.iteration} of "
                f"{options.epochs}; "
                f"go on with: fastbcd train --resume {shlex.quote(str(folder.path))}"
            )
        return 128 + received

    loss, summary = solver.problem.loss.name, _summary(dataset, solver, result)
    model = Model(
        *(result.network, classes, preprocessing, dataset.feature_names, loss),
        input_kind=input_kind,
        image_shape=dataset.image_shape,
    )
    try:
        on_root(ranks, lambda: _finish(folder, model, summary))
    except BaseException:  # a full disk, Ctrl-C: training is not lost
        with contextlib.suppress(OSError):
            save.save(result.state)
        raise
    if not options.quiet and ranks.rank == 0:
        print(
            f"{dataset.name}: test accuracy {summary['test_accuracy']:.4f}, "
            f"train {summary['train_accuracy']:.4f}, objective {summary['objective']:.6g} after "
            f"{summary['iterations']} iterations in {summary['seconds']:.1f} s; in {folder.path}"
        )
        if result.certificate is not None:
            print(result.certificate)
    return 0


def _prepare(path: Path | None, options: argparse.Namespace, dataset: Dataset) -> Path:
    """The run's folder: a new one, or `path`, of a run killed before its first checkpoint."""
    if path is None:
        folder = RunFolder.create(options.out, dataset.name)
        folder.write_config(_config(options, dataset.feature_names))
        return folder.path
    RunFolder(path).history.unlink(missing_ok=True)
    return path


def _finish(folder: RunFolder, model: Model, summary: dict[str, Any]) -> None:
    model.save(folder.model)
    folder.finish(summary)


def _check(options: argparse.Namespace) -> None:
    """`InputError` for options that neither the solver nor the parser checks."""
    require_integer(options.epochs, "--epochs", at_least=1)
    require_integer(options.seed, "--seed", at_least=0)
    require_integer(options.evaluate_every, "--evaluate-every", at_least=1)
    for name in ("certify", "checkpoint_every"):
        if getattr(options, name) is not None:
            require_integer(getattr(options, name), f"--{name.replace('_', '-')}", at_least=1)
    if options.batch_size is None:
        parse(options.init, INITIALIZATIONS, "init")


def _initial(options: argparse.Namespace) -> dict[str, Any]:
    """What the solver's `init` takes besides data and seed."""
    if options.batch_size is None:
        return {"init": options.init, "bias": options.bias}
    return {"passes": options.epochs}


def _config(options: argparse.Namespace, columns: list[str] | None) -> dict[str, Any]:
    """Every option as given, the data's place made absolute, its columns, and the version."""
    skipped = {"run", "command", "arguments", "quiet", "out", "resume", "comm"}
    config = {name: value for name, value in vars(options).items() if name not in skipped}
    if options.data is not None:
        config["data"] = os.path.abspath(options.data)
    return {"fastbcd": __version__, **config, "columns": columns}


def _summary(dataset: Dataset, solver: AnySolver, result: Result) -> dict[str, Any]:
    last, certificate = result.history[-1], result.certificate
    return {
        "data": dataset.name,
        "train_samples": dataset.n_train,
        "test_samples": dataset.n_test,
        "widths": list(solver.problem.widths),
        "iterations": last["iteration"],
        "seconds": last["seconds"],
        "objective": last["objective"],
        "train_accuracy": last["train_accuracy"],
        "test_accuracy": last["test_accuracy"],
        **({} if certificate is None else {"certificate": certificate.as_dict()}),
        "ranks": solver.device.ranks.size,
        "threads": solver.device.n_threads,
        "fastbcd": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
