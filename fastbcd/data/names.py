"""Usual names of the four arrays, such as X_train, x_train and train_images."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fastbcd.errors import InputError

NAMES = ("X_train", "y_train", "X_test", "y_test")
WHAT = {
    **dict.fromkeys(("x", "image", "images", "data", "features", "inputs"), "X"),
    **dict.fromkeys(("y", "label", "labels", "target", "targets"), "y"),
}
PART = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "t10k"), "test"),
}
_WHAT, _PART = "|".join(WHAT), "|".join(PART)
FORMS = (
    re.compile(rf"(?P<what>{_WHAT})[-_ ]?(?P<part>{_PART})", re.IGNORECASE),
    re.compile(rf"(?P<part>{_PART})[-_ ]?(?P<what>{_WHAT})", re.IGNORECASE),
)


def role_of(name: str) -> str | None:
    """Return which of `NAMES` an array called `name` is, or None."""
    for form in FORMS:
        found = form.fullmatch(name)
        if found:
            return f"{WHAT[found['what'].lower()]}_{PART[found['part'].lower()]}"
    return None


def by_role(names: Iterable[str], where: str) -> dict[str, str]:
    """Map those of `NAMES` that `names` have to the name found; `NAMES` themselves come first.

    Raises
    ------
    InputError
        Two names mean the same array; the message says `where`.
    """
    found: dict[str, str] = {}
    for name in names:
        role = role_of(name)
        if role is None or found.get(role) == role:
            continue
        if role in found and name != role:
            raise InputError(
                f"{where} has both {found[role]} and {name}; rename the right one to {role}"
            )
        found[role] = name
    return found
