"""A hard limit on memory, page cache included, by a control group of Linux."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


class Group:
    """A control group of memory, of version 1 or 2, or none where it cannot be made."""

    def __init__(self, limit: int) -> None:
        self.path: Path | None = None
        # Below the group of this process, so that the limits above it go on to hold.
        for root, files in self._candidates():
            path = root / f"fastbcd-{os.getpid()}"
            try:
                path.mkdir()
            except OSError:
                continue
            try:
                for name in files:
                    if (path / name).exists():
                        (path / name).write_text(str(limit if "swap" not in name else 0))
                if not (path / files[0]).exists():
                    raise OSError("no memory controller")
                self.path = path
                return
            except OSError:
                path.rmdir()

    @staticmethod
    def _candidates() -> Iterator[tuple[Path, tuple[str, ...]]]:
        try:
            lines = Path("/proc/self/cgroup").read_text().splitlines()
        except OSError:
            return
        for _, controllers, place in (line.split(":", 2) for line in lines):
            if "memory" in controllers.split(","):
                files = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
                yield GROUPS / "memory" / place.lstrip("/"), files
                yield GROUPS / "memory", files
            elif not controllers:
                yield GROUPS / place.lstrip("/"), ("memory.max", "memory.swap.max")

    def enter(self) -> None:
        """Put this process into the group."""
        assert self.path is not None
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def read(self, *names: str) -> int:
        """Content of the first of these files that exists."""
        assert self.path is not None
        return next(int((self.path / n).read_text()) for n in names if (self.path / n).exists())

    def peak(self) -> int:
        """Peak of the group in bytes, page cache included."""
        return self.read("memory.max_usage_in_bytes", "memory.peak")

    def remove(self) -> None:
        """Remove the group, once its processes have ended."""
        if self.path is not None:
            self.path.rmdir()


@contextmanager
def control_group(limit: int) -> Iterator[Group]:
    """A `Group`, removed afterwards."""
    made = Group(limit)
    try:
        yield made
    finally:
        made.remove()
