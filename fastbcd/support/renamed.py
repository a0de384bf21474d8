"""Names of the release before: they still work, with a `DeprecationWarning`, until the next one."""

from __future__ import annotations

from typing import Any

from fastbcd.kernels.streams import warn


def renamed(old: str, new: str) -> Any:
    """A property that stands for the attribute or method `new` under its name `old`.

    To be used in the body of a class::

        energy = renamed("energy", "magnitude_bound")
    """

    def get(self: Any) -> Any:
        _announce(self, old, new)
        return getattr(self, new)

    def put(self: Any, value: Any) -> None:
        _announce(self, old, new)
        setattr(self, new, value)

    return property(get, put, doc=f"The name of `{new}` in the release before.")


def _announce(owner: Any, old: str, new: str) -> None:
    message = f"{type(owner).__name__}.{old} is now called {new}"
    warn(message, DeprecationWarning, stacklevel=3)
