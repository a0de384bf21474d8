"""Names of runs and classes for pictures, which show them letter by letter."""

from __future__ import annotations

import re
from typing import Any


def printable(name: Any) -> str:
    r"""A text of letters that fonts have.

    If the locale lacks a letter of a path, Python keeps its bytes as surrogates, which no font
    has; they are read as UTF-8 here. Control characters, which have no form, become U+FFFD.
    """
    text = str(name)
    try:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # half a character that does not come from a path
        text = text.encode("utf-8", "replace").decode("utf-8")
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f]", "\ufffd", text)


def literal(name: Any) -> str:
    r"""A text that matplotlib draws as `name`: dollars are no mathematics, and nothing is hidden.

    It is `printable`. Legends leave out names that begin with an underscore, so these get a
    blank before it.
    """
    text = printable(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
