"""Entry point of the ``fastbcd`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from fastbcd import __version__
from fastbcd.cli import info, predict, train
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
    for module in (train, predict, info):
        module.add_command(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it worked, 2 with one sentence on stderr for bad input."""
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except (InputError, FloatingPointError) as error:
        print(f"fastbcd {options.command}: {error}", file=sys.stderr)
        return USAGE_STATUS if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print(f"\nfastbcd {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main())
