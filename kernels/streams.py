"""What is said by the way, on streams that may be absent: None, closed, or a pipe nobody reads.

A run goes on and keeps its result whether or not somebody hears of it, so nothing here raises
because of a stream. A warning that its caller has made an error is raised as ever.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from typing import Any

# Calls between a line that logs and `logging`, of which Python 3.11 counts none of its own.
STACK = 2 if sys.version_info >= (3, 11) else 4


class Lenient:
    """A stream whose `write` and `flush` do what they can; all else is that of `stream`.

    Letters that the encoding lacks are written with backslashes.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        """Write `text`, or what is possible of it."""
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
    # Not by `print`, which takes an absent standard error for standard output.
    stream = Lenient(sys.stderr)
    stream.write(f"{line}\n")
    stream.flush()


def is_terminal(stream: Any) -> bool:
    """Whether `stream` is there, open, and a terminal."""
    try:
        return bool(stream.isatty())
    except Exception:
        return False


class _Logger(logging.LoggerAdapter):
    """The logger ``fastbcd``; a handler without a stream raises in some of its own reports."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log `msg` with `level`, as `logging.Logger.log` does."""
        # The line that a record names is that of our caller: `log` and `info` are skipped.
        kwargs.setdefault("stacklevel", STACK)
        with contextlib.suppress(Exception):
            super().log(level, msg, *args, **kwargs)


logger = _Logger(logging.getLogger("fastbcd"), {})


def warn(message: str, category: type[Warning], stacklevel: int = 1) -> None:
    """``warnings.warn``, of which an absent standard error makes no exception."""
    try:
        warnings.warn(message, category, stacklevel=stacklevel + 1)
    except Warning:  # the caller's filters ask for that
        raise
    except Exception:  # standard error is closed
        pass
