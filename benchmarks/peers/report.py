"""The passes of all methods as a Markdown table, and a line that names the machine."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from methods import METHODS

import fastbcd

MARKS = (0.90, 0.95, 0.97, 0.98)
PACKAGES = ("numba", "numpy", "scipy", "scikit-learn", "torch")

Run = dict[str, Any]
"""Results of a method from `__main__`: ``threads``, ``blas``, ``passes`` (its records)."""


def table(runs: dict[str, Run], budget: float) -> str:
    """One line a method; a monitored method has a second one, on the clock of its monitor.

    Both run in one process: their peak memory is the same, the monitor's included.
    """
    header = ["method", "s / pass", *(f"s to {mark:.0%}" for mark in MARKS),
              f"test accuracy after {budget:g} s", "peak memory, MB"]  # fmt: skip
    lines = [header, ["---"] * len(header)]
    for name, run in runs.items():
        label = METHODS[name].label
        lines.append([label, *cells(run["passes"], budget, "")])
        if "monitored_seconds" in run["passes"][0]:
            lines.append(
                [f"{label}, with its monitor", *cells(run["passes"], budget, "monitored_")]
            )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cells(passes: list[dict[str, Any]], budget: float, clock: str) -> list[str]:
    """All columns but the first, by the seconds of `clock`; "-" for what was not reached."""
    in_time = [record for record in passes if record[f"{clock}seconds"] <= budget]

    def to(mark: float) -> str:
        seconds = (r[f"{clock}seconds"] for r in in_time if r["test_accuracy"] >= mark)
        return next((f"{s:.3g}" for s in seconds), "-")

    return [
        f"{median(record[f'{clock}pass_seconds'] for record in passes):.3g}",
        *map(to, MARKS),
        f"{in_time[-1]['test_accuracy']:.4f}" if in_time else "-",
        f"{passes[-1]['peak_megabytes']:.0f}",
    ]


def machine(runs: dict[str, Run]) -> str:
    """Processor, cores, versions, and who used how many threads of which BLAS, in one line."""
    users: dict[str, list[str]] = {}
    for name, run in runs.items():
        users.setdefault(f"{run['threads']} threads of {run['blas']}", []).append(name)
    return "; ".join(
        [
            f"{_processor()}, {os.cpu_count()} cores",
            f"Python {platform.python_version()}, fastbcd {fastbcd.__version__}, {_versions()}",
            *(f"{blas} for {', '.join(names)}" for blas, names in users.items()),
        ]
    )


def _processor() -> str:
    """Model name, from Linux's list where there is one."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _versions() -> str:
    found = []
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)
