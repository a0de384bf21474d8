"""Names of the previous release still work, with a `DeprecationWarning`, for one release."""

from __future__ import annotations

from typing import Any

from fastbcd.kernels.streams import warn


def renamed(old: str, new: str) -> Any:
    """Return a property `old` that reads and sets the attribute or method called `new`.

    Use it in the body of a class::

        energy = renamed("energy", "magnitude_bound")
    """

    def get(self: Any) -> Any:
        _announce(self, old, new)
        return getattr(self, new)

    def put(self: Any, value: Any) -> None:
        _announce(self, old, new)
        setattr(self, new, value)

    get.__doc__ = f"`{new}` had this name in the previous release."
    return property(get, put)


def _announce(owner: Any, old: str, new: str) -> None:
    message = f"{type(owner).__name__}.{old} is now called {new}"
    warn(message, DeprecationWarning, stacklevel=3)
