"""``fastbcd train --resume DIR`` takes the options of the run in DIR, and no others."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastbcd.cli.batches import FULL, with_batch_size
from fastbcd.cli.parser import Parser, option_of
from fastbcd.cli.run_folder import RunFolder
from fastbcd.data import Dataset
from fastbcd.data.inputs import check_same_names
from fastbcd.errors import InputError

# These options change no result, so they may be given anew.
FREE = ("resume", "threads", "quiet", "checkpoint_every", "memory", "memory_folder")
# Options of full batches that version 0.1 did not have, and the values that its runs go on with.
SINCE_0_1 = {"acceleration": "none"}

AddOptions = Callable[[argparse.ArgumentParser], None]


def resumed_options(
    add_options: AddOptions, arguments: Sequence[str], folder: RunFolder
) -> argparse.Namespace:
    """Options of the run in `folder`, except that those of `FREE` may come from `arguments`.

    DATA may have moved; the checkpoint tells later whether it is the same data.

    Raises
    ------
    InputError
        The folder holds no run or a finished one, or an option differs from that of the run.
    """
    config = folder.read_config()
    if folder.summary.exists():
        raise InputError(f"--resume: the run in {folder.path} is finished; its model is there")
    given = _given(add_options, arguments)
    if "out" in given:
        raise InputError("--out does not go with --resume: a run goes on in its own folder")
    own = _parse(add_options, _arguments_of(config, add_options))
    for name, value in given.items():
        if name == "data":
            value = given["data"] = os.path.abspath(value)
            if own.data is not None and folder.checkpoint.exists():
                continue  # it may have moved; the checkpoint has a hash of it
        before = getattr(own, name)
        if name not in FREE and value != before:
            option = option_of(name)
            if name == "data":
                option, before = "DATA", before or "digits"
            raise InputError(
                f"{option}: the run in {folder.path} was started with {before}, not {value}; leave "
                "it out to go on with that run, or start a new one without --resume"
            )
    for name in (*FREE, "data"):
        if name in given:
            setattr(own, name, given[name])
    if own.data is not None and "data" not in given and not os.path.exists(own.data):
        raise InputError(
            f"DATA: {own.data}, with which the run in {folder.path} was started, does not exist; "
            f"if it moved, name its new place: --resume {folder.path} DATA"
        )
    return own


def _parse(
    add_options: AddOptions,
    arguments: Sequence[str],
    namespace: argparse.Namespace | None = None,
) -> argparse.Namespace:
    parser = Parser(prog="fastbcd train", allow_abbrev=False)
    add_options(parser)
    return parser.parse_args(arguments, namespace)


def _given(add_options: AddOptions, arguments: Sequence[str]) -> dict[str, Any]:
    """The options that `arguments` names, without defaults."""
    absent = object()
    names = vars(_parse(add_options, []))
    # argparse leaves what a namespace has already, so that no default gets in.
    options = _parse(add_options, arguments, argparse.Namespace(**dict.fromkeys(names, absent)))
    if options.data is None:  # only positional arguments get their default all the same
        options.data = absent
    return {name: value for name, value in vars(options).items() if value is not absent}


def _arguments_of(config: dict[str, Any], add_options: AddOptions) -> list[str]:
    """A command line with the options in config.json, so that they are checked like any others."""
    config = with_batch_size(config)
    if config["batch_size"] == FULL:
        config = {**SINCE_0_1, **config}
    names = set(vars(_parse(add_options, []))) - {"data"}
    arguments = []
    for name in names:
        option, value = option_of(name), config.get(name)
        if value is True:
            arguments.append(option)
        elif value not in (None, False):
            values = value if isinstance(value, list) else [value]
            arguments += [f"{option}={each}" for each in values]
    return arguments + ([] if config["data"] is None else ["--", config["data"]])


def check_same_columns(config: dict[str, Any], dataset: Dataset) -> None:
    """Raise `InputError` if `dataset` has other columns than those of the run's beginning."""
    before, now = config.get("columns"), dataset.feature_names
    if before is not None and now is not None:
        check_same_names(before, now, dataset.name)


@contextmanager
def data_named(config: dict[str, Any] | None, data: str | None) -> Iterator[None]:
    """In the context an `InputError` names DATA, if DATA is not where `config` has it."""
    try:
        yield
    except InputError as error:
        if config is None or config["data"] == data:
            raise
        raise InputError(
            f"DATA: {data} is not the data that the run was started with, {config['data']}: {error}"
        ) from None
