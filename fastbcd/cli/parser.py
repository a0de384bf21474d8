"""The argument parser of all commands."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from fastbcd.files.atomic import expanded

USAGE_STATUS = 2
# A number below 0, or a list that begins with one: -1e-3, -.5, -inf, -1,2.
BELOW_0 = re.compile(r"-(\d|\.\d|inf|nan)[-+\w.,:/]*", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, and to which a number below 0 is no option."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in the base, of arguments in which ``--bias -1e-3`` is ``--bias=-1e-3``.

        The base takes -1 for a number, and -1e-3 for an option that it does not know.
        """
        return super().parse_known_args(None if args is None else _joined(args), namespace)

    def error(self, message: str) -> NoReturn:
        """Print the sentence and leave with status 2."""
        self.exit(USAGE_STATUS, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _joined(arguments: Sequence[str]) -> list[str]:
    """StepScalars below 0 as parts of the options that they follow."""
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
    """The type of an option that is a path: a shell leaves ``~`` in ``--out=~/x`` as it is."""
    return expanded(text)
