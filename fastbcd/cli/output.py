"""What a command writes to standard output for other programs to read."""

from __future__ import annotations

import sys

from fastbcd.errors import InputError


def write_text(content: bytes) -> None:
    """Write UTF-8 as it is to standard output, whatever the locale would make of its letters.

    A stream without bytes, as a notebook has one, gets it as text.

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
