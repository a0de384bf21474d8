"""Checks of users' parameters: names such as ``"leaky_relu:0.1"``, numbers, flags, choices.

A value may be Python's own, a NumPy scalar or a 0-d array. The checks return Python's own type,
so that no other type reaches a file, a checkpoint or a kernel.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from fastbcd.errors import InputError

T = TypeVar("T")

# Products of weights beyond these bounds would leave the range of float32.
LARGEST = 1e15
SMALLEST = 1e-15
DTYPES = ("float32", "float64")


def parse(text: str, known: Mapping[str, Callable[..., T]], argument: str) -> T:
    """Build the entry of the table `known` for a `text` ``"NAME"`` or ``"NAME:NUMBER[,...]"``.

    Raises
    ------
    InputError
        The name is unknown, a parameter is not a number, there are too many, or the constructor
        refuses their values. The message names `argument`.
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
    """Convert a NumPy scalar or 0-d array to Python's own type; return other values unchanged."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def loss_name(loss: Any) -> str:
    """Return the name of a `Loss`, or of a text such as ``"huber:1.0"``."""
    return str(getattr(loss, "name", plain(loss))).partition(":")[0]


def flag(value: Any, argument: str, levels: bool = False) -> bool:
    """Return True for True or 1, False for False or 0; else an `InputError` names `argument`.

    With `levels`, as for verbosity, larger integers are True.
    """
    given = plain(value)
    if not isinstance(given, bool | int) or given < 0 or (given > 1 and not levels):
        raise InputError(f"{argument} must be True or False, got {value!r}")
    return bool(given)


def choice(value: Any, known: Iterable[str], argument: str) -> str:
    """Return `value` if it is one of the `known` names; else an `InputError` names `argument`."""
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
    """Return a float from `at_least` to `at_most`; else an `InputError` names `argument`.

    Bools, texts and arrays with axes are not numbers.
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
    """Return an integer from `at_least` to `at_most`; else an `InputError` names `argument`.

    2.0 and True are refused, because they may have been meant for another parameter.
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


def optional(check: Callable[..., T], value: Any, argument: str, **limits: Any) -> T | None:
    """Return what `check` makes of `value`, within `limits`; None stays None."""
    return None if value is None else check(value, argument, **limits)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Suggest the nearest one of `names`, or return an empty text if none is near."""
    lower = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f" (did you mean {lower[near[0]]!r}?)" if near else ""


def check_dtype(dtype: Any) -> np.dtype:
    """Return float32 or float64 as a NumPy dtype."""
    dtype = plain(dtype)
    try:
        name = "" if dtype is None else np.dtype(dtype).name  # NumPy takes None for float64
    except (TypeError, ValueError):
        name = ""
    if name not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return np.dtype(name)
