"""Schedules of the step size: its factor as a function of t, the finished fraction of the run."""

from __future__ import annotations

import math
from collections.abc import Callable

from fastbcd.support.parameters import choice

Schedule = Callable[[float], float]


def cosine(fraction: float) -> float:
    """``(1 + cos(pi t)) / 2``: from 1 to 0 (Loshchilov, Hutter 2017)."""
    return 0.5 * (1.0 + math.cos(math.pi * min(fraction, 1.0)))


def linear(fraction: float) -> float:
    """``1 - t``."""
    return 1.0 - min(fraction, 1.0)


def constant(fraction: float) -> float:
    """Return 1, for a stream without an end."""
    return 1.0


SCHEDULES: dict[str, Schedule] = {"cosine": cosine, "linear": linear, "constant": constant}


def get_schedule(name: str) -> Schedule:
    """Return the schedule called `name`; `InputError` if there is none."""
    return SCHEDULES[choice(name, SCHEDULES, "schedule")]
