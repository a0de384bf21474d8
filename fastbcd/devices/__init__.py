"""Devices: where block updates run. The solvers do not know which one they have."""

from __future__ import annotations

from fastbcd.devices.cpu import CPU
from fastbcd.errors import InputError
from fastbcd.ranks import Alone, Ranks

DEVICES = {"cpu": CPU}


def get_device(
    name: str, n_threads: int | None, tile_rows: int | None, ranks: Ranks | None = None
) -> CPU:
    """The device called `name`; `InputError` if there is none."""
    if name not in DEVICES:
        raise InputError(f"device must be one of {', '.join(DEVICES)}, got {name!r}")
    return DEVICES[name](n_threads, tile_rows, Alone() if ranks is None else ranks)


__all__ = ["CPU", "DEVICES", "get_device"]
