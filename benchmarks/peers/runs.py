"""Runs to a target: the seconds of a training and the accuracy at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any


@dataclass(frozen=True)
class Run:
    """One training: its seed, its seconds on the clock, and its accuracy."""

    seed: int
    seconds: float
    accuracy: float


def holds(runs: Sequence[Run], target: float) -> bool:
    """Return whether the mean accuracy reaches the target."""
    return mean(run.accuracy for run in runs) >= target


def seconds_of(runs: Sequence[Run]) -> float:
    """Return the median of the seconds."""
    return median(run.seconds for run in runs)


def cells(runs: Sequence[Run], target: float) -> list[str]:
    """Return the columns seconds, accuracy in per cent, and whether the target is reached."""
    accuracies = [100.0 * run.accuracy for run in runs]
    return [
        spread([run.seconds for run in runs], "{:.2f}"),
        f"{mean(accuracies):.2f} ({min(accuracies):.2f} to {max(accuracies):.2f})",
        "yes" if holds(runs, target) else "no",
    ]


def spread(values: Sequence[float], form: str) -> str:
    """Return median, smallest and largest; "-" where there are none."""
    if not values:
        return "-"
    middle, low, high = (form.format(f(values)) for f in (median, min, max))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def shown(settings: Mapping[str, Any]) -> str:
    """Return settings as ``batch 250, rate 0.1``."""
    return ", ".join(f"{key} {value}" for key, value in settings.items())
