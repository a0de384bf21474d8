"""Messages on streams that may be absent: None, closed, or a pipe that nobody reads.

A run goes on and keeps its result where its messages cannot be written, so nothing here raises
because of a stream. A warning that the caller's filters turn into an error is raised.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from typing import Any

# Calls between a line that logs and `logging`; Python 3.11 does not count its own.
STACK = 2 if sys.version_info >= (3, 11) else 4


class Lenient:
    """A wrapper of `stream` whose `write` and `flush` never raise.

    Letters that the encoding lacks are written with backslashes.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        """Write `text` as far as the stream allows it."""
        with contextlib.suppress(Exception):
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = getattr(self._stream, "encoding", None) or "ascii"
                self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def flush(self) -> None:
        """Flush the stream where that is possible."""
        with contextlib.suppress(Exception):
            self._stream.flush()


def write_line(line: object) -> None:
    """Write `line` to standard error, where there is one."""
    # `print` would write to standard output where standard error is absent.
    stream = Lenient(sys.stderr)
    stream.write(f"{line}\n")
    stream.flush()


def is_terminal(stream: Any) -> bool:
    """True where `stream` exists, is open, and is a terminal."""
    try:
        return bool(stream.isatty())
    except Exception:
        return False


class _Logger(logging.LoggerAdapter):
    """The logger ``fastbcd``; a handler without a stream raises in some of its own reports."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log `msg` with `level`, as `logging.Logger.log` does."""
        # The record names our caller's line: `log` and `info` are skipped.
        kwargs.setdefault("stacklevel", STACK)
        with contextlib.suppress(Exception):
            super().log(level, msg, *args, **kwargs)


logger = _Logger(logging.getLogger("fastbcd"), {})


def warn(message: str, category: type[Warning], stacklevel: int = 1) -> None:
    """Call ``warnings.warn``; an absent standard error raises nothing."""
    try:
        warnings.warn(message, category, stacklevel=stacklevel + 1)
    except Warning:  # the caller's filters turn warnings into errors
        raise
    except Exception:  # standard error is closed
        pass
