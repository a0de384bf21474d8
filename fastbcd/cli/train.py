"""``fastbcd train``: read data, train a network, write a run folder."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fastbcd.callbacks import (
    BlockTimes,
    Certify,
    HistoryFile,
    Objective,
    Progress,
    SaveCheckpoint,
    StopOnSignal,
)
from fastbcd.callbacks.history_file import COLUMNS
from fastbcd.checkpoints.checkpoint import read
from fastbcd.cli.batches import choose_batches, takes_full_batches
from fastbcd.cli.early_stopping import COLUMNS as HELD_OUT
from fastbcd.cli.early_stopping import check_early_stopping, hold_out, kept_iteration
from fastbcd.cli.resume import data_named, resumed_options
from fastbcd.cli.run_folder import RunFolder
from fastbcd.cli.solver_options import image_shape_of, solver_of
from fastbcd.cli.train_options import BALANCED, Formatter, add_options, check_options
from fastbcd.cli.training_data import Targets, read_data, targets_of
from fastbcd.cli.trials import choose_by_trials, holds_trials
from fastbcd.data import Dataset, Preprocessing
from fastbcd.data.augmentation import scale_padding
from fastbcd.data.sparse import is_sparse
from fastbcd.data.tables.description import describe
from fastbcd.data.tables.target import NUMBERS
from fastbcd.devices.ranks import Ranks, collective_errors, get_ranks, on_root
from fastbcd.devices.storage.arrays import get_storage
from fastbcd.kernels.streams import logger, write_line
from fastbcd.models.model import Model
from fastbcd.models.network import Network
from fastbcd.solvers.base import BlockCoordinateDescent
from fastbcd.solvers.defaults import AnySolver
from fastbcd.support.version import __version__
from fastbcd.training.loop import Callback, Result, RunHistory
from fastbcd.training.loop import run as run_loop

Config = dict[str, Any]
"""The content of config.json."""
# What is measured of predicted numbers.
SCORES = ("train_r2", "test_r2", "train_loss", "test_loss")

DESCRIPTION = """Train a network by block coordinate descent and write a run folder. DATA may be a
table with columns of any kind: fastbcd train table.csv --target COLUMN. By default
(--batch-size auto) the blocks work on mini-batches: the network learns in few passes, but the
objective may rise in some of them. With --batch-size full they work on all samples at once, as in
the paper: the objective falls in every iteration, --certify measures what the theorems promise, but
many more passes are needed."""


def add_command(commands: Any) -> None:
    """Add ``train`` and its options to the command line."""
    parser = commands.add_parser(
        "train",
        help="train a network",
        description=DESCRIPTION,
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Train until the end or an interruption; return the exit status."""
    comm, ranks = options.comm, get_ranks(options.comm)
    options, folder, before = _resumed(options, ranks)
    with collective_errors(ranks):
        reason = choose_batches(options)
        check_early_stopping(options, ranks)
    storage = get_storage(options.memory, options.memory_folder)

    def allocate(shape: tuple[int, ...], dtype: Any) -> Any:
        return storage.allocate([shape], dtype)[0]

    dataset = read_data(options, before, ranks, None if options.memory is None else allocate)
    targets = targets_of(dataset, options, ranks)
    held_out = hold_out(options, dataset, targets)
    shape = (dataset.n_train, dataset.X_train.shape[1])
    dataset.image_shape = image_shape_of(options, dataset.image_shape, shape[1])
    solver_for = partial(
        solver_of,
        shape=shape,
        n_classes=targets.n_outputs,
        comm=comm,
        image_shape=dataset.image_shape,
    )
    trials, given = holds_trials(options, dataset.n_train), argparse.Namespace(**vars(options))
    solver = solver_for(options)
    preprocessing = _preprocessing(options, dataset, ranks)
    scale_padding(solver, preprocessing)
    check_options(options)
    make_model = _model_maker(dataset, targets, preprocessing, solver)
    dtype = solver.dtype
    X_train, X_test = (
        preprocessing(X, dtype, out=None if is_sparse(X) else allocate(X.shape, dtype))
        for X in (dataset.X_train, dataset.X_test)
    )
    dataset.X_train = dataset.X_test = None  # from here on only the scaled ones are needed
    Y_train = targets.network_targets(allocate, solver.dtype)
    weight = dataset.weight_train
    if options.class_weight == BALANCED:
        weight = targets.balanced(ranks, weight)
    chosen = None
    if trials:
        chosen = choose_by_trials(given, solver_for, X_train, Y_train, weight, targets.train)
        solver, options = solver_for(given), given

    if folder is not None and on_root(ranks, folder.checkpoint.exists):
        state, past = _restored(folder, before, options, solver, X_train, Y_train, weight)
    else:
        more = {"seed": options.seed, "sample_weight": weight, **_initial(options)}
        state = solver.init(X_train, Y_train, **more)
        past, path = None, None if folder is None else folder.path
        folder = RunFolder(on_root(ranks, lambda: _prepare(path, options, dataset)))
        if not options.quiet and ranks.rank == 0 and dataset.targets:
            print(describe(dataset, targets.of_model()["classes"]), flush=True)
        if not options.quiet and chosen is not None:
            print(chosen, flush=True)

    if reason is not None:
        logger.info(reason)
    every = options.evaluate_every
    scores = targets.scores(X_train, X_test, every)
    save, stop = SaveCheckpoint(folder.checkpoint, options.checkpoint_every), StopOnSignal()
    # `stop` comes last: a signal during the last checkpoint must do no harm.
    stopping: list[Callback] = []
    if held_out is not None:
        stopping = held_out.callbacks(options, preprocessing, solver.dtype)
    measures = [Objective(every), *scores, *stopping]
    callbacks = [*measures, *_more_callbacks(options, folder, dataset.task), save, stop]
    result = run_loop(solver, state, options.epochs, callbacks, past)
    received = next((number for number in ranks.gather(stop.received) if number), None)
    if received is not None and result.state.iteration < options.epochs:
        if save.failed is not None:
            raise OSError(save.failed)
        if ranks.rank == 0:
            write_line(_how_to_go_on(result, options.epochs, folder))
        return 128 + received

    model, summary = make_model(result.network), _summary(dataset, solver, result, stopping)
    try:
        on_root(ranks, lambda: _finish(folder, model, summary))
    except BaseException:  # a full disk, Ctrl-C: training is not lost
        with contextlib.suppress(OSError):
            save.save(result.state)
        raise
    if not options.quiet and ranks.rank == 0:
        _print_summary(summary, folder)
        if result.certificate is not None:
            print(result.certificate)
    return 0


def _resumed(
    options: argparse.Namespace, ranks: Ranks
) -> tuple[argparse.Namespace, RunFolder | None, Config | None]:
    """With ``--resume`` the options, folder and config.json of that run, else `options` alone."""
    if options.resume is None:
        return options, None, None
    folder = RunFolder(Path(options.resume))
    with collective_errors(ranks):
        return resumed_options(add_options, options.arguments, folder), folder, folder.read_config()


def _preprocessing(options: argparse.Namespace, dataset: Dataset, ranks: Ranks) -> Preprocessing:
    """The scaling of inputs, by channels of images if there are ``--layers``."""
    if dataset.encoding is not None:  # it has scaled them
        return Preprocessing.fit(dataset.X_train, "none")
    images, channels = dataset.image_shape, None
    if images is not None and options.layers is not None:
        channels = images[2] if len(images) == 3 else 1
    return Preprocessing.fit(dataset.X_train, options.preprocess, ranks=ranks, channels=channels)


def _model_maker(
    dataset: Dataset, targets: Targets, preprocessing: Preprocessing, solver: AnySolver
) -> Callable[[Network], Model]:
    """Network -> model; it notes the kind of the inputs, which `dataset` is about to give up."""
    return partial(
        Model,
        **targets.of_model(),
        preprocessing=preprocessing,
        feature_names=dataset.feature_names,
        loss=solver.problem.loss.name,
        input_kind=dataset.input_kind,
        image_shape=dataset.image_shape,
        table=dataset.encoding,
    )


def _restored(
    folder: RunFolder,
    before: Config | None,
    options: argparse.Namespace,
    solver: AnySolver,
    X_train: Any,
    Y_train: Any,
    weight: Any,
) -> tuple[Any, RunHistory]:
    """State and history of the checkpoint in `folder`; config.json learns where DATA is now."""
    ranks = solver.device.ranks
    checkpoint = read(folder.checkpoint, ranks)
    with data_named(before, options.data):
        state, past = checkpoint.restore(solver, X_train, Y_train, weight), checkpoint.past()
    if before is not None and before["data"] != options.data:
        on_root(ranks, partial(folder.write_config, {**before, "data": options.data}))
    return state, past


def _more_callbacks(
    options: argparse.Namespace, folder: RunFolder, task: str | None
) -> list[Callback]:
    """Callbacks that measure time and promises, write the history and show progress."""
    certify = [] if options.certify is None else [Certify(options.certify)]
    held_out = HELD_OUT if options.early_stopping else ()
    scores = SCORES if task == NUMBERS else ()
    more = Certify.columns if certify else ()
    columns = ("constraint_gap", *BlockTimes.columns, *more, *scores)
    progress = [] if options.quiet else [Progress()]
    return [BlockTimes(), *certify, HistoryFile(folder.history, (*columns, *held_out)), *progress]


def _how_to_go_on(result: Result, epochs: int, folder: RunFolder) -> str:
    return (
        f"fastbcd train: stopped after iteration {result.state.iteration} of {epochs}; "
        f"go on with: fastbcd train --resume {shlex.quote(str(folder.path))}"
    )


def _print_summary(summary: dict[str, Any], folder: RunFolder) -> None:
    name, column = ("accuracy", "accuracy") if "test_accuracy" in summary else ("R2", "r2")
    print(
        f"{summary['data']}: test {name} {summary[f'test_{column}']:.4f}, "
        f"train {summary[f'train_{column}']:.4f}, objective {summary['objective']:.6g} after "
        f"{summary['iterations']} iterations{_how_accelerated(summary)}{_kept(summary)} in "
        f"{summary['seconds']:.1f} s; in {folder.path}"
    )


def _how_accelerated(summary: dict[str, Any]) -> str:
    """Return the name of the acceleration for the printed summary, and its restarts if any."""
    if "restarts" not in summary:
        return ""
    count = summary["restarts"]
    restarts = f" with {count} restart{'s' if count > 1 else ''}" if count else ""
    return f" ({summary['acceleration']}{restarts})"


def _kept(summary: dict[str, Any]) -> str:
    """Return which weights early stopping kept, for the printed summary."""
    return f" (weights of {summary['kept_iteration']})" if "kept_iteration" in summary else ""


def _prepare(path: Path | None, options: argparse.Namespace, dataset: Dataset) -> Path:
    """The folder of the run: a new one, or `path` of a run that was killed before a checkpoint."""
    if path is None:
        folder = RunFolder.create(options.out, dataset.name)
        folder.write_config(_config(options, dataset.feature_names))
        return folder.path
    RunFolder(path).history.unlink(missing_ok=True)
    return path


def _finish(folder: RunFolder, model: Model, summary: dict[str, Any]) -> None:
    model.save(folder.model)
    folder.finish(summary)


def _initial(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments of the solver's `init` besides data and seed."""
    if takes_full_batches(options):
        return {"init": options.init, "bias": options.bias}
    return {"passes": options.epochs}


def _config(options: argparse.Namespace, columns: list[str] | None) -> dict[str, Any]:
    """Every option as given, the absolute path of the data, its columns, and the version."""
    skipped = {"run", "command", "arguments", "quiet", "out", "resume", "comm"}
    config = {name: value for name, value in vars(options).items() if name not in skipped}
    if options.data is not None:
        config["data"] = os.path.abspath(options.data)
    return {"fastbcd": __version__, **config, "columns": columns}


def _acceleration(solver: AnySolver, state: Any) -> dict[str, Any]:
    """Return the entries of summary.json on acceleration, which mini-batches do not have."""
    if not isinstance(solver, BlockCoordinateDescent):
        return {}
    if solver.acceleration is None:
        return {"acceleration": "none"}
    return {"acceleration": solver.acceleration, "restarts": state.momentum.restarts}


def _augmentation(solver: AnySolver) -> dict[str, Any]:
    """Return the entry of summary.json on moved images, which only mini-batches have."""
    augment = getattr(solver, "augment", None)
    return {} if augment is None else {"augment": augment.text}


def _summary(
    dataset: Dataset, solver: AnySolver, result: Result, stopping: list[Callback]
) -> dict[str, Any]:
    last, certificate = result.history[-1], result.certificate
    best = kept_iteration(stopping)
    kept = last if best is None else result.history[best - 1]
    return {
        "data": dataset.name,
        "train_samples": dataset.n_train,
        "test_samples": dataset.n_test,
        "widths": list(solver.problem.widths),
        "iterations": last["iteration"],
        "seconds": last["seconds"],
        **_acceleration(solver, result.state),
        **_augmentation(solver),
        **({} if best is None else {"kept_iteration": best}),
        "objective": kept["objective"],
        **{name: kept[name] for name in (*COLUMNS[3:], *SCORES, *HELD_OUT) if name in kept},
        **({} if certificate is None else {"certificate": certificate.as_dict()}),
        "ranks": solver.device.ranks.size,
        "threads": solver.device.n_threads,
        "fastbcd": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
