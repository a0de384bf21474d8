"""Output of commands: what other programs read from standard output, and colours for people."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastbcd.errors import InputError
from fastbcd.kernels.streams import is_terminal

BOLD, RED, BLUE, PLAIN = "\033[1m", "\033[1;31m", "\033[36m", "\033[0m"


def takes_colours(stream: Any) -> bool:
    """True for a terminal, unless ``NO_COLOR`` is set or the terminal says that it is dumb."""
    forbidden = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not forbidden and is_terminal(stream)


def blamed(program: str, sentence: object) -> str:
    """The line on standard error that says what went wrong: "fastbcd train: sentence"."""
    colours = (RED, PLAIN) if takes_colours(sys.stderr) else ("", "")
    return f"{program}:".join(colours) + f" {sentence}"


def coloured_help(text: str) -> str:
    """The help of a command with its headings in bold and its options in blue."""
    text = re.sub(r"^(\w[^\n]*?:)", rf"{BOLD}\1{PLAIN}", text, flags=re.MULTILINE)
    return re.sub(r"^(  (?:-\w, )?--?\w[\w-]*)", rf"{BLUE}\1{PLAIN}", text, flags=re.MULTILINE)


def new_file(path: str | Path) -> Path:
    """Return the path that ``--out`` names; `InputError` if something is there."""
    path = Path(path)
    if path.exists():
        raise InputError(f"--out: {path} exists already; name a new file")
    return path


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """In the context an `OSError` becomes an `InputError` that names ``--out``."""
    try:
        yield
    except OSError as error:
        raise InputError(f"--out: {path} cannot be written: {error}") from None


def write_text(content: bytes) -> None:
    """Write UTF-8 to standard output byte by byte, whatever the encoding of the locale is.

    A stream that takes text only, such as a notebook's, gets text.

    Raises
    ------
    InputError
        There is no standard output.
    """
    stream = sys.stdout
    if stream is None:
        raise InputError("there is no standard output; name a file for the result: --out FILE")
    binary = getattr(stream, "buffer", None)
    if binary is None:
        stream.write(content.decode())
        return
    stream.flush()
    binary.write(content)
    binary.flush()
