"""Standard streams that may be absent: None, closed, or unable to write a letter."""

from __future__ import annotations

import contextlib
import sys
from typing import Any


def write_line(line: object, stream: Any = None, *, flush: bool = True) -> None:
    """Write `line` to `stream`, standard error by default, where there is one that takes it.

    For what is said by the way: a run goes on, and keeps its result, although nobody reads that.
    Letters that the stream's encoding lacks are written with backslashes.
    """
    stream = sys.stderr if stream is None else stream
    if stream is None:  # pythonw, or a service whose descriptors are closed
        return
    text = f"{line}\n"
    # ValueError: the stream is closed; OSError: a full disk, or nobody reads the pipe any more.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = getattr(stream, "encoding", None) or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        if flush:
            stream.flush()


def is_terminal(stream: Any) -> bool:
    """Whether `stream` is there, open, and a terminal."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False
