"""Entry point of the ``fastbcd`` command."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from fastbcd import __version__
from fastbcd.cli import export, info, predict, train
from fastbcd.errors import InputError

USAGE_STATUS = 2
INTERRUPTED_STATUS = 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_STATUS, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="fastbcd",
        description="Train deep networks by block coordinate descent, without backpropagation.",
    )
    parser.add_argument("--version", action="version", version=f"fastbcd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for module in (train, predict, export, info):
        module.add_command(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it worked, 2 with one sentence on stderr for bad input."""
    options = build_parser().parse_args(arguments)

    def complain(sentence: object) -> None:
        print(f"fastbcd {options.command}: {sentence}", file=sys.stderr)

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack letters of a file's name
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            # A warning is one line, too, without the source line that it came from.
            warnings.showwarning = lambda message, *_, **__: complain(f"warning: {message}")
            options.run(options)
        sys.stdout.flush()
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
        complain("interrupted; the history so far is kept, a model was not written")
        return INTERRUPTED_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main())
