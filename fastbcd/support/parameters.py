"""What users give as parameters: names such as ``"leaky_relu:0.1"``, numbers, flags, choices.

Each is taken as Python's own, as NumPy's scalar or as an array without axes, and handed on as
Python's own, so that no other type reaches a file, a checkpoint or a kernel.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from fastbcd.errors import InputError

T = TypeVar("T")

# Weights beyond these leave the range of float32 when they are combined.
LARGEST = 1e15
SMALLEST = 1e-15
DTYPES = ("float32", "float64")


def parse(text: str, known: Mapping[str, Callable[..., T]], argument: str) -> T:
    """Build what ``"NAME"`` or ``"NAME:NUMBER[,NUMBER...]"`` names in the table `known`.

    Raises
    ------
    InputError
        For an unknown name, parameters that are not numbers, too many of
        them, or values that the constructor refuses; names `argument`.
    """
    text = plain(text)
    if not isinstance(text, str):
        raise InputError(f"{argument} must be a name such as {next(iter(known))!r}, got {text!r}")
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


def plain(value: Any) -> Any:
    """A NumPy scalar or an array without axes as Python has it; anything else as it is."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def flag(value: Any, argument: str, levels: bool = False) -> bool:
    """True or False, 1 or 0, or an `InputError` that names `argument`.

    With `levels` any number above 1 is True: of how much is said.
    """
    given = plain(value)
    if not isinstance(given, bool | int) or given < 0 or (given > 1 and not levels):
        raise InputError(f"{argument} must be True or False, got {value!r}")
    return bool(given)


def choice(value: Any, known: Iterable[str], argument: str) -> str:
    """One of the names that are `known`, or an `InputError` that names `argument`."""
    given, names = plain(value), tuple(known)
    if not isinstance(given, str) or given not in names:
        raise InputError(f"{argument} must be one of {', '.join(names)}, got {given!r}")
    return str(given)


def require(
    value: float,
    argument: str,
    *,
    at_least: float = -LARGEST,
    at_most: float = LARGEST,
) -> float:
    """A float between two bounds, or an `InputError` that names `argument`.

    A bool is no number, nor is a text or an array that has axes.
    """
    given = plain(value)
    try:
        if isinstance(given, bool | str | bytes | np.ndarray):
            raise TypeError
        number = float(given)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{argument} must be a number, got {value!r}") from None
    if not at_least <= number <= at_most:
        raise InputError(
            f"{argument} must be a number from {at_least:g} to {at_most:g}, got {given!r}"
        )
    return number


def require_integer(value: int, argument: str, *, at_least: int, at_most: int = 2**31 - 1) -> int:
    """An integer between two bounds, or an `InputError` that names `argument`.

    2.0 is none, nor is True: whoever gives them may have meant another parameter.
    """
    given = plain(value)
    try:
        if isinstance(given, bool | np.ndarray):
            raise TypeError
        whole = operator.index(given)
    except TypeError:
        whole = at_least - 1
    if whole < at_least:
        raise InputError(f"{argument} must be an integer of at least {at_least}, got {given!r}")
    if whole > at_most:
        raise InputError(f"{argument} must be an integer of at most {at_most}, got {given!r}")
    return whole


def check_dtype(dtype: Any) -> np.dtype:
    """float32 or float64 as a NumPy dtype."""
    dtype = plain(dtype)
    try:
        name = "" if dtype is None else np.dtype(dtype).name  # NumPy takes None for float64
    except (TypeError, ValueError):
        name = ""
    if name not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return np.dtype(name)
