"""The exception for mistakes of a user: its message names the culprit and the cure."""

from __future__ import annotations


class InputError(ValueError):
    """An argument, file or array that cannot be used; raised before any work is done."""
