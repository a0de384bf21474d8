"""Names with parameters, as users type them: ``"relu"``, ``"leaky_relu:0.1"``, ``"ridge:1"``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from fastbcd.errors import InputError

T = TypeVar("T")

# Weights beyond these leave the range of float32 when they are combined.
LARGEST = 1e15
SMALLEST = 1e-15


def parse(text: str, known: Mapping[str, Callable[..., T]], argument: str) -> T:
    """Build what ``"NAME"`` or ``"NAME:NUMBER[,NUMBER...]"`` names in the table `known`.

    Raises
    ------
    InputError
        For an unknown name, parameters that are not numbers, too many of
        them, or values that the constructor refuses; names `argument`.
    """
    name, colon, tail = text.partition(":")
    if name not in known:
        raise InputError(f"{argument}: unknown name {name!r}; known: {', '.join(known)}")
    try:
        numbers = [float(part) for part in tail.split(",")] if colon else []
    except ValueError:
        raise InputError(
            f"{argument}: {tail!r} in {text!r} must be numbers separated by commas"
        ) from None
    try:
        return known[name](*numbers)
    except TypeError:
        raise InputError(f"{argument}: {name!r} does not take {len(numbers)} parameters") from None
    except ValueError as error:
        raise InputError(f"{argument}: {error}") from None


def require(
    value: float,
    argument: str,
    *,
    at_least: float = -LARGEST,
    at_most: float = LARGEST,
) -> float:
    """A float between two bounds, or an `InputError` that names `argument`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{argument} must be a number, got {value!r}") from None
    if not at_least <= number <= at_most:
        raise InputError(
            f"{argument} must be a number from {at_least:g} to {at_most:g}, got {value!r}"
        )
    return number


def require_integer(value: int, argument: str, *, at_least: int, at_most: int = 2**31 - 1) -> int:
    """An integer between two bounds, or an `InputError` that names `argument`."""
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        whole = at_least - 1
    if isinstance(value, bool) or whole != value or whole < at_least:
        raise InputError(f"{argument} must be an integer of at least {at_least}, got {value!r}")
    if whole > at_most:
        raise InputError(f"{argument} must be an integer of at most {at_most}, got {value!r}")
    return whole
