"""How much of the suite runs: a part in five minutes, or with ``FASTBCD_SUITE=whole`` all of it."""

from __future__ import annotations

import importlib.util
import os
from typing import TypeVar

T = TypeVar("T")
EXTENT = os.environ.get("FASTBCD_SUITE", "part")
if EXTENT not in ("part", "whole"):
    raise ValueError(f"FASTBCD_SUITE is {EXTENT!r}; it must be 'part' (the default) or 'whole'")


def some(values: list[T], *few: T) -> list[T]:
    """Return the `few` that stand for all values, or in the whole suite all of them."""
    return values if EXTENT == "whole" else list(few)


# Without CuPy there is no device for the GPU, and asv would start processes that only skip.
DEVICES = ["cpu", "cuda"] if importlib.util.find_spec("cupy") else ["cpu"]
"""Devices whose benchmarks can run here."""
