"""Entry point of the ``fastbcd`` command."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fastbcd import __version__
from fastbcd.cli import export, info, plot, predict, train
from fastbcd.cli.parser import USAGE_STATUS, Parser
from fastbcd.errors import InputError

INTERRUPTED_STATUS = 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(
        prog="fastbcd",
        description="Train deep networks by block coordinate descent, without backpropagation.",
    )
    parser.add_argument("--version", action="version", version=f"fastbcd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for module in (train, predict, export, plot, info):
        module.add_command(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it worked, 2 with one sentence on stderr for bad input."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = build_parser().parse_args(arguments)
    options.arguments = arguments[1:]

    def complain(sentence: object) -> None:
        print(f"fastbcd {options.command}: {sentence}", file=sys.stderr)

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack letters of a file's name
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings(), _logging(getattr(options, "quiet", False)):
            # A warning is one line, too, without the source line that it came from.
            warnings.showwarning = lambda message, *_, **__: complain(f"warning: {message}")
            status = options.run(options)
        sys.stdout.flush()
        return status or 0
    except BrokenPipeError:
        # The reader (head, say) has seen enough. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (InputError, OSError) as error:
        complain(error)
        return USAGE_STATUS
    except MemoryError as error:
        complain(f"not enough memory: {error}")
        return USAGE_STATUS
    except FloatingPointError as error:
        complain(error)
        return 1
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED_STATUS


@contextmanager
def _logging(quiet: bool) -> Iterator[None]:
    """What the library logs goes to standard error, a line each."""
    logger, handler = logging.getLogger("fastbcd"), logging.StreamHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


if __name__ == "__main__":
    sys.exit(main())
