"""The argument parser of all commands."""

from __future__ import annotations

import argparse
from typing import NoReturn

USAGE_STATUS = 2


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence and leave with status 2."""
        self.exit(USAGE_STATUS, f"{self.prog}: {message} (see {self.prog} --help)\n")
