"""Output of a command that other programs read from standard output."""

from __future__ import annotations

import sys

from fastbcd.errors import InputError


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
