"""What NumPy does where a number underflows, overflows or is undefined: its own default.

``np.seterr`` is the caller's setting for the caller's arithmetic. Ours counts on numbers that
underflow to 0, and says in sentences what is too large; so every public function and method
computes under the settings that NumPy starts with, and leaves the caller's as they were.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

import numpy as np

DEFAULTS: dict[str, Any] = {
    "divide": "warn",
    "over": "warn",
    "under": "ignore",
    "invalid": "warn",
}
SPECIAL = ("__post_init__", "__call__")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def own_errstate(function: F) -> F:
    """`function` under the settings of floating point that NumPy starts with."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        # A new one each time: one that is shared would be so by threads, too.
        with np.errstate(**DEFAULTS):
            return function(*arguments, **named)

    return call  # type: ignore[return-value]


def own_errstate_in(cls: type[T]) -> type[T]:
    """Put `own_errstate` around all public methods and properties that `cls` itself defines."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_") and name not in SPECIAL:
            continue
        wrapped: Any
        if isinstance(member, FunctionType):
            wrapped = own_errstate(member)
        elif isinstance(member, (classmethod, staticmethod)):
            wrapped = type(member)(own_errstate(member.__func__))
        elif isinstance(member, property) and member.fget is not None:
            wrapped = property(own_errstate(member.fget), member.fset, member.fdel, member.__doc__)
        else:
            continue
        setattr(cls, name, wrapped)
    return cls
