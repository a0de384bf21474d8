"""The argument parser of all commands."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from fastbcd.cli.help import NAMES
from fastbcd.cli.output import blamed, coloured_help, takes_colours
from fastbcd.files.atomic import expanded

USAGE_STATUS = 2
# A negative number, or a list that begins with one: -1e-3, -.5, -inf, -1,2.
BELOW_0 = re.compile(r"-(\d|\.\d|inf|nan)[-+\w.,:/]*", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, and that takes no negative number for an option."""

    # Python 3.14 would colour the help itself, in other places.
    color = False
    examples: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse `args` as the base class does, with ``--bias -1e-3`` read as ``--bias=-1e-3``.

        The base class knows that -1 is a number, but takes -1e-3 for an unknown option. What is not
        known is an error of this parser, whose name says which command does not know it.
        """
        given = None if args is None else _joined(args)
        known, unknown = super().parse_known_args(given, namespace)
        if unknown:
            like = [
                name
                for argument in unknown
                for name in get_close_matches(
                    argument.partition("=")[0], self._option_string_actions, 1
                )
            ]
            meant = f"; did you mean {' '.join(like)}?" if like else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        """Print the sentence and leave with status 2."""
        self.exit(USAGE_STATUS, blamed(self.prog, f"{message} (see {self.prog} --help)\n"))

    def group(self, groups: Mapping[str, str]) -> None:
        """Show options of the help under headings; options that no group names stay where they are.

        Parameters
        ----------
        groups : mapping of str to str
            Heading -> the long names of its options, without dashes, separated by spaces. Headings
            come in this order. One that exists keeps its own options, too.
        """
        for heading, names in groups.items():
            made = [group for group in self._action_groups if group.title == heading]
            group = made[0] if made else self.add_argument_group(heading)
            self._action_groups.remove(group)
            self._action_groups.append(group)
            for name in names.split():
                action = self._option_string_actions[f"--{name}"]
                (before,) = (g for g in self._action_groups if action in g._group_actions)
                before._group_actions.remove(action)
                group._group_actions.append(action)

    def format_help(self) -> str:
        """The help, with the examples at its end."""
        lines = [f"  {example}\n" for example in self.examples]
        return super().format_help() + "".join(["\nexamples:\n", *lines] if lines else [])

    def print_help(self, file: Any = None) -> None:
        """Print the help, in colours where a terminal shows it."""
        stream = sys.stdout if file is None else file
        text = self.format_help()
        self._print_message(coloured_help(text) if takes_colours(stream) else text, stream)


class Completion(argparse.Action):
    """``--completion SHELL``: print a script by which a shell completes commands and options."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Print the script and leave."""
        try:
            import shtab
        except ModuleNotFoundError:
            parser.error("--completion needs shtab: pip install 'fastbcd[completion]'")
        for command in _commands(parser):
            for action in command._actions:
                action.choices = NAMES.get(action.dest, action.choices)
                if action.type is user_path:
                    folder = action.metavar == "DIR"
                    action.complete = shtab.DIRECTORY if folder else shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, values))
        parser.exit()


def _commands(parser: argparse.ArgumentParser) -> Iterable[argparse.ArgumentParser]:
    """The parsers of all commands."""
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return commands.choices.values()


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


def option_of(name: str) -> str:
    """The option of which argparse makes the attribute `name`, as users type it."""
    return f"--{name.replace('_', '-')}"


def user_path(text: str) -> str:
    """Type of an option that is a path; it expands ``~``, which a shell leaves in ``--out=~/x``."""
    return expanded(text)
