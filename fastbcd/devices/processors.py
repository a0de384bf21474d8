"""The number of processors that this process may use, by affinity and by its container's quota."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path("/")


def available_processors() -> int:
    """Return the number of processors that this process may keep busy, at least 1.

    It is the smallest of the processor affinity, the quota of the control group and of those
    around it (rounded up), Python's own number (``PYTHON_CPU_COUNT``), and
    ``LOKY_MAX_CPU_COUNT``, which scikit-learn obeys, too.
    """
    if hasattr(os, "sched_getaffinity"):
        number = len(os.sched_getaffinity(0))
    else:
        number = os.cpu_count() or 1
    own = getattr(os, "process_cpu_count", lambda: None)() or number  # from Python 3.13 on
    limits = [own, quota(ROOT), *map(_number_in, ("PYTHON_CPU_COUNT", "LOKY_MAX_CPU_COUNT"))]
    return int(max(1, min([number, *(limit for limit in limits if limit is not None)])))


def _number_in(variable: str) -> int | None:
    text = os.environ.get(variable, "").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else None


@cache
def quota(root: Path) -> int | None:
    """Return how many processors the control groups allow, rounded up; None without a limit.

    It reads version 2 (``cpu.max``) and version 1 (``cpu.cfs_quota_us``) of this process's group
    and of all groups around it, from files below `root`.
    """
    shares = [share for group in _groups(root) if (share := _share(group)) is not None]
    return max(1, math.ceil(round(min(shares), 6))) if shares else None


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups, from the innermost outwards."""
    # Path of this process's group by controller; "" is the key for version 2.
    own: dict[str | None, str] = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    for line in _lines(root / "proc/self/mountinfo"):
        mounted, _, kind = line.partition(" - ")
        fields, kinds = mounted.split(), kind.split()
        if len(fields) < 5 or not kinds:
            continue
        controller = {"cgroup2": "", "cgroup": "cpu"}.get(kinds[0])
        if controller not in own or (controller and controller not in kinds[-1].split(",")):
            continue
        path = own[controller]
        top, place = (_unescaped(field) for field in fields[3:5])
        # In a container the mount may begin inside the group's path as the host sees it.
        inside = path.removeprefix(top.rstrip("/")) if path.startswith(top) else ""
        parts = [part for part in inside.split("/") if part not in ("", "..")]
        mount = root / place.lstrip("/")
        for depth in range(len(parts), -1, -1):
            yield mount.joinpath(*parts[:depth])


def _share(group: Path) -> float | None:
    """Return how many processors one control group allows; None if it sets no limit."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        numbers = " ".join(line for name in names for line in _lines(group / name)).split()
        if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
            allowed, period = map(int, numbers)
            if allowed > 0 and period > 0:
                return allowed / period
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
