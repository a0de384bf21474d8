"""Stored state: a class writes down the keys of its entries, and a file must have exactly these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbcd.errors import InputError

VERSION = "version"


def check_state_dict(stored: Any, expected: Mapping[str, Any], owner: str) -> None:
    """Refuse what an object cannot go on from.

    Parameters
    ----------
    stored : dict
        What was read.
    expected : mapping
        What the object's `state_dict` gives now. `stored` must have the same keys and, where
        there is one, the same ``version``.
    owner : str
        The object's class, for errors.

    Raises
    ------
    InputError
        Another version, a missing key or an unknown one; names it, and what would be right.
    """
    if not isinstance(stored, dict):
        raise InputError(f"{owner}: a table of {_listed(expected)} is needed, got {stored!r}")
    version = expected.get(VERSION)
    if VERSION in expected and stored.get(VERSION, version) != version:
        raise InputError(
            f"{owner}: it is stored in version {stored[VERSION]}, and this release reads version "
            f"{version}; go on with the release that wrote it"
        )
    missing = [key for key in expected if key not in stored]
    unknown = [key for key in stored if key not in expected]
    wrong = [f"{_listed(missing)} is missing"] if missing else []
    wrong += [f"{_listed(unknown)} is unknown"] if unknown else []
    if wrong:
        raise InputError(f"{owner}: {' and '.join(wrong)}; its keys are {_listed(expected)}")


def state_dict_of(owner: Any, attributes: Mapping[str, str], version: int) -> dict[str, Any]:
    """``{"version": VERSION, KEY: value of ATTRIBUTE, ...}`` for a table of keys and attributes."""
    return {VERSION: version, **{key: getattr(owner, name) for key, name in attributes.items()}}


def load_attributes(owner: Any, stored: dict[str, Any], attributes: Mapping[str, str]) -> None:
    """Set the attributes of `owner` to what `state_dict_of` gave; errors of `check_state_dict`."""
    check_state_dict(stored, owner.state_dict(), type(owner).__name__)
    for key, name in attributes.items():
        setattr(owner, name, stored[key])


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
