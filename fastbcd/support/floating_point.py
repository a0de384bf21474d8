"""Public functions compute under NumPy's default handling of underflow, overflow and NaN.

The caller may have changed it by ``np.seterr``. This package relies on underflow to 0, and
reports overflow in messages of its own. So each public function and method sets the defaults,
and restores the caller's settings when it returns.
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
    """Wrap `function`, so that it computes under NumPy's default floating-point settings."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        # A new context in each call, because threads must not share one.
        with np.errstate(**DEFAULTS):
            return function(*arguments, **named)

    return call  # type: ignore[return-value]


def own_errstate_in(cls: type[T]) -> type[T]:
    """Wrap all public methods and properties that `cls` itself defines in `own_errstate`."""
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
