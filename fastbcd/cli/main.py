"""Entry point of the ``fastbcd`` command."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastbcd.cli import export, info, plot, predict, train
from fastbcd.cli.help import EXAMPLES, GROUPS
from fastbcd.cli.output import blamed
from fastbcd.cli.parser import USAGE_STATUS, Completion, Parser
from fastbcd.cli.processes import abort, silent, world
from fastbcd.errors import InputError
from fastbcd.kernels.streams import write_line
from fastbcd.support.floating_point import own_errstate
from fastbcd.support.version import __version__

INTERRUPTED_STATUS = 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(
        prog="fastbcd",
        description="Train deep networks by block coordinate descent, without backpropagation.",
    )
    parser.add_argument("--version", action="version", version=f"fastbcd {__version__}")
    parser.add_argument(
        "--completion",
        action=Completion,
        choices=["bash", "zsh", "fish"],
        help="print the script by which this shell completes commands and options",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for module in (train, predict, export, plot, info):
        module.add_command(commands)
    parser.examples = EXAMPLES["fastbcd"]
    for name, command in commands.choices.items():
        command.examples = EXAMPLES[name]
        command.group(GROUPS.get(name, {}))
    commands.choices["train"].usage = "fastbcd train [DATA] [OPTIONS]"
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 if it worked, or 2 after one sentence on stderr about bad input."""
    with _streams():
        return _main(sys.argv[1:] if arguments is None else list(arguments))


@own_errstate
def _main(arguments: list[str]) -> int:
    try:
        comm = world()
    except InputError as error:
        write_line(blamed("fastbcd", error))
        return USAGE_STATUS
    first = comm is None or comm.rank == 0
    with contextlib.nullcontext() if first else silent():
        options = build_parser().parse_args(arguments)
    options.arguments = arguments[1:]
    if options.command != "train":
        if not first:
            return 0  # these commands are work for one process
        comm = None
    options.comm = comm

    def complain(sentence: object) -> None:
        write_line(blamed(f"fastbcd {options.command}", sentence))

    def fail(status: int, sentence: object) -> int:
        if comm is not None:
            abort(comm, status, f"fastbcd {options.command}: {sentence}")
        complain(sentence)
        return status

    try:
        with warnings.catch_warnings(), _logging(getattr(options, "quiet", False), first):
            # A warning is one line as well, without the source line that raised it.
            warnings.showwarning = lambda message, *_, **__: (
                complain(f"warning: {message}") if first else None
            )
            status = options.run(options)
        if hasattr(sys.stdout, "flush"):  # it may be None, or an object that has `write` only
            sys.stdout.flush()
        return status or 0
    except BrokenPipeError:
        # The reader, such as head, has closed the pipe. Python would complain again at exit, so
        # standard output goes to nowhere, unless an object without a descriptor replaces it.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1 if comm is None else fail(1, "nobody reads its output any more")
    except (InputError, OSError) as error:
        return fail(USAGE_STATUS, error)
    except MemoryError as error:
        return fail(USAGE_STATUS, f"not enough memory: {error}")
    except FloatingPointError as error:
        return fail(1, error)
    except KeyboardInterrupt:
        return fail(INTERRUPTED_STATUS, "interrupted")
    except Exception:
        if comm is None:
            raise
        return fail(1, traceback.format_exc())  # else the other ranks would wait for this one


@contextmanager
def _streams() -> Iterator[None]:
    """In the context a closed standard stream is None, and an open one can write all letters.

    Afterwards the streams are as before.
    """
    before = sys.stdout, sys.stderr
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # os.open gets the lowest free number, this one. Otherwise a file of ours would get it,
            # and C code would take that file for standard error.
            os.open(os.devnull, os.O_RDWR)
    with contextlib.ExitStack() as afterwards:
        for name, stream in zip(("stdout", "stderr"), before, strict=True):
            afterwards.callback(setattr, sys, name, stream)
            if not _is_open(stream):
                setattr(sys, name, None)
            elif isinstance(
                stream, io.TextIOWrapper
            ):  # its encoding may lack letters of a file's name
                afterwards.callback(_restore, stream, stream.encoding, stream.errors)
                stream.reconfigure(errors="backslashreplace")
        yield


def _is_open(stream: Any) -> bool:
    """False for a stream that is closed or whose buffer was detached."""
    try:
        return not getattr(stream, "closed", False)
    except ValueError:
        return False


def _restore(stream: io.TextIOWrapper, encoding: str, errors: str | None) -> None:
    with contextlib.suppress(OSError, ValueError):  # it was closed since, or the disk is full
        stream.reconfigure(encoding=encoding, errors=errors)


@contextmanager
def _logging(quiet: bool, first: bool) -> Iterator[None]:
    """In the context log messages of the library go to standard error, on the `first` rank only."""
    logger, handler = logging.getLogger("fastbcd"), logging.StreamHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    handler.setLevel(logging.NOTSET if first else logging.CRITICAL)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


if __name__ == "__main__":
    sys.exit(main())
