"""Names as pictures show them: letter by letter."""

from __future__ import annotations

import re
from typing import Any


def literal(name: Any) -> str:
    r"""`name` as matplotlib draws it as it is: no mathematics between dollars, nothing hidden.

    Where the locale has no umlauts, Python keeps the bytes of those in a path as surrogates, which
    no font has: they are read as UTF-8. Legends leave out names that begin with an underscore, so
    a blank stands before these.
    """
    text = str(name)
    try:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # half a character that does not come from a path
        text = text.encode("utf-8", "replace").decode("utf-8")
    text = re.sub(r"[\x00-\x09\x0b-\x1f\x7f]", "\ufffd", text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
