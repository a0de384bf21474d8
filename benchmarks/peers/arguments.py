"""Options of both commands; bad ones end with one line and status 2."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from mnist import Samples, read, read_standardised

from fastbcd import InputError


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, and whose help begins with a module's docstring."""

    def __init__(self, prog: str, description: str | None) -> None:
        kind = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=description, formatter_class=kind)

    def samples(
        self, folder: str, reader: Callable[[str], Samples] = read, option: str = "--mnist"
    ) -> Samples:
        """Read the samples of `option`, or end with an error."""
        try:
            return reader(folder)
        except InputError as error:
            self.error(f"{option}: {error}")

    def add_data(self) -> None:
        """``--mnist`` or ``--cifar``."""
        data = self.add_mutually_exclusive_group(required=True)
        data.add_argument("--mnist", metavar="FOLDER", help="MNIST's IDX files")
        data.add_argument("--cifar", metavar="FOLDER", help="CIFAR-10, whose images become rows")

    def chosen_samples(self, options: argparse.Namespace) -> Samples:
        """Read the samples that `add_data` let choose, or end with an error."""
        if options.mnist is not None:
            samples = self.samples(options.mnist)
            if samples.image_shape[2] != 1:
                self.error(f"--mnist: {options.mnist} has images in colour; give --cifar")
            return samples
        return self.samples(options.cifar, read_standardised, "--cifar")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")

    def add_common(self, methods: Iterable[str]) -> None:
        """``--mnist``, ``--network`` and ``--only``."""
        self.add_argument(
            "--mnist", metavar="FOLDER", required=True, help="folder of MNIST's four IDX files"
        )
        self.add_argument(
            "--network",
            type=widths,
            default=(1500, 1500, 1500),
            metavar="D1,D2,...",
            help="widths of the hidden layers (default: 1500,1500,1500)",
        )
        methods = list(methods)
        self.add_argument("--only", nargs="+", choices=methods, default=methods, metavar="NAME",
                          help=f"some of {', '.join(methods)}")  # fmt: skip

    def check_file(self, path: Path | None) -> None:
        """End with an error where the file of ``--out`` cannot be written, or holds no runs."""
        if path is None:
            return
        if path.is_dir() or not path.absolute().parent.is_dir():
            self.error(f"--out: {path} cannot be a file")
        try:
            holds_runs = not path.exists() or isinstance(json.loads(path.read_text()), dict)
        except ValueError:
            holds_runs = False
        if not holds_runs:
            self.error(f"--out: {path} is not JSON with runs by name; name another file")

    def check_packages(self, packages: Mapping[str, str], option: str = "--only") -> None:
        """End with an error where the package of a name is missing; `option` chooses names."""
        for name, needed in packages.items():
            if importlib.util.find_spec(needed) is None:
                self.error(f"{name} needs the package {needed}; install it or choose with {option}")


def widths(text: str) -> tuple[int, ...]:
    """``1500,1500`` as numbers."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not widths separated by commas")
    return tuple(map(int, parts))


def positive(text: str) -> float:
    """A number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def count(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
