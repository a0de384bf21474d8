"""Names with parameters, as users type them: ``"relu"``, ``"leaky_relu:0.1"``, ``"ridge:1"``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from fastbcd.errors import InputError

T = TypeVar("T")


def parse(text: str, known: Mapping[str, Callable[..., T]], argument: str) -> T:
    """Build what ``"NAME"`` or ``"NAME:NUMBER[,NUMBER...]"`` names in the table `known`.

    Raises
    ------
    InputError
        For an unknown name, parameters that are not numbers, too many of
        them, or values that the constructor refuses; names `argument`.
    """
    name, _, tail = text.partition(":")
    if name not in known:
        raise InputError(f"{argument}: unknown name {name!r}; known: {', '.join(known)}")
    try:
        numbers = [float(part) for part in tail.split(",")] if tail else []
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
    value: float, argument: str, *, at_least: float | None = None, above: float | None = None
) -> float:
    """A finite float that obeys its bound, or an `InputError` that names `argument`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{argument} must be a number, got {value!r}") from None
    bound = f"at least {at_least:g}" if at_least is not None else f"above {above:g}"
    low = (at_least is not None and number < at_least) or (above is not None and number <= above)
    if not (abs(number) < float("inf")) or low:
        raise InputError(f"{argument} must be a finite number {bound}, got {value!r}")
    return number


def require_integer(value: int, argument: str, *, at_least: int) -> int:
    """An integer that is at least `at_least`, or an `InputError` that names `argument`."""
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        whole = at_least - 1
    if isinstance(value, bool) or whole != value or whole < at_least:
        raise InputError(f"{argument} must be an integer of at least {at_least}, got {value!r}")
    return whole
