"""The argument parser of all commands."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from fastbcd.files.atomic import expanded

USAGE_STATUS = 2
# A negative number, or a list that begins with one: -1e-3, -.5, -inf, -1,2.
BELOW_0 = re.compile(r"-(\d|\.\d|inf|nan)[-+\w.,:/]*", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, and that takes no negative number for an option."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse `args` as the base class does, with ``--bias -1e-3`` read as ``--bias=-1e-3``.

        The base class knows that -1 is a number, but takes -1e-3 for an unknown option.
        """
        return super().parse_known_args(None if args is None else _joined(args), namespace)

    def error(self, message: str) -> NoReturn:
        """Print the sentence and leave with status 2."""
        self.exit(USAGE_STATUS, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _joined(arguments: Sequence[str]) -> list[str]:
    """`arguments` with negative numbers joined to the options before them."""
    joined: list[str] = []
    for i, argument in enumerate(arguments):
        if argument == "--":
            return [*joined, *arguments[i:]]
        option = joined[-1] if joined else ""
        if BELOW_0.fullmatch(argument) and option.startswith("--") and "=" not in option:
            joined[-1] = f"{option}={argument}"
        else:
            joined.append(argument)
    return joined


def user_path(text: str) -> str:
    """Type of an option that is a path; it expands ``~``, which a shell leaves in ``--out=~/x``."""
    return expanded(text)
