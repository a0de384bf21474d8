"""Conversion of class labels to an array without changing any value."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.errors import InputError
from fastbcd.support.parameters import plain

# Types of pandas' NA and NaT, by name, so that pandas need not be installed.
MISSING_TYPES = ("NAType", "NaTType")
KINDS: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("bool", lambda label: isinstance(label, bool | np.bool_)),
    ("whole number", lambda label: isinstance(label, Integral)),
    ("float", lambda label: isinstance(label, Real)),
    ("text", lambda label: isinstance(label, str)),
)
# Python's own types, which have no missing values.
PLAIN = {str: "text", int: "whole number", bool: "bool"}


def faithful(labels: Any, name: str) -> NDArray[Any]:
    """Return `labels` as an array whose elements equal the given ones, in value and kind.

    `numpy.asarray` would turn numbers beside texts into texts and pandas' nullable whole numbers
    into floats, and would strip NUL characters from the ends of texts. Arrays of numbers, bools,
    texts or dates are returned unchanged, and so is anything that is not a vector.

    Parameters
    ----------
    labels : array, sequence, pandas or polars Series
    name : str
        Name of the labels, for the error.

    Raises
    ------
    InputError
        A label is missing; labels are of several kinds, or neither numbers, bools nor texts; a
        whole number needs more than 64 bits.
    """
    if isinstance(labels, np.ma.MaskedArray) and np.ma.getmaskarray(labels).any():
        raise InputError(f"{name}: some of its labels are masked, so they are missing")
    if isinstance(labels, list | tuple):
        return _of_sequence(labels, name)
    if getattr(labels, "ndim", 1) == 2 and len(getattr(labels, "columns", ())) == 1:
        # A column of a data frame may have a type of pandas' or polars' own.
        return faithful(labels[labels.columns[0]], name)[:, None]
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1 and array.dtype.kind == "O":
        return faithful(array[:, 0], name)[:, None]
    if array.ndim != 1:
        return array
    if array.dtype.kind in "mM" and np.isnat(array).any():
        raise _missing(int(np.argmax(np.isnat(array))), name)
    if array.dtype.kind != "O":
        return array
    return array if _kind(array.tolist(), name) == "text" else _numbers(array.tolist(), name)


def _of_sequence(labels: Sequence[Any], name: str) -> NDArray[Any]:
    """Apply `faithful` to a list or tuple."""
    scalars = set(map(type, labels)) <= PLAIN.keys() or all(np.ndim(each) == 0 for each in labels)
    if len(labels) == 0 or not scalars:
        return np.asarray(labels)  # not a vector: the caller reports it
    if _kind(labels, name) != "text":
        return _numbers(labels, name)
    stripped = any(label.endswith("\0") for label in labels)
    return np.array(labels, object if stripped else np.str_)


def _kind(labels: Sequence[Any], name: str) -> str:
    """Return the common kind of all labels; whole numbers among floats count as floats."""
    types = set(map(type, labels))
    if len(types) == 1 and types <= PLAIN.keys():  # the usual case, and quick to check
        return PLAIN[types.pop()]
    first: dict[str, int] = {}
    for i, label in enumerate(labels):
        if is_missing(label):
            raise _missing(i, name)
        kind = next((kind for kind, holds in KINDS if holds(label)), None)
        if kind is None:
            hint = "; decode them, by .decode()" if isinstance(label, bytes) else ""
            raise InputError(
                f"{name} must hold numbers, bools or texts, but label {i} is {label!r}, of type "
                f"{type(label).__name__}{hint}"
            )
        first.setdefault(kind, i)
    kinds = list(first)
    if set(kinds) == {"whole number", "float"}:
        return "float"
    if len(kinds) > 1:
        shown = " and ".join(f"{labels[i]!r} ({kind})" for kind, i in list(first.items())[:2])
        raise InputError(f"{name} must hold labels of one kind, but has {shown}")
    return kinds[0] if kinds else "text"


def _numbers(labels: Sequence[Any], name: str) -> NDArray[Any]:
    """Return bools, whole numbers or floats as an array, none of them changed."""
    values = [plain(label) for label in labels]
    array = np.array(values)
    if array.dtype.kind == "f" and min(values) >= 0 and max(values) >= 2**63:
        with contextlib.suppress(OverflowError):  # NumPy turns 2^63 beside 1 into floats
            array = np.array(values, np.uint64)
    if array.dtype.kind not in "biuf" or array.tolist() != values:
        raise InputError(f"{name}: its whole numbers do not all fit into 64 bits; use texts")
    return array


def is_missing(label: Any) -> bool:
    """Whether `label` is None, NaN, NaT or pandas' NA."""
    if label is None or type(label).__name__ in MISSING_TYPES:
        return True
    return isinstance(label, float | np.floating | np.datetime64 | np.timedelta64) and bool(
        label != label
    )


def _missing(row: int, name: str) -> InputError:
    return InputError(f"{name}: label {row} is missing; leave its sample out, or name its class")
