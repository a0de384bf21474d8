"""Two versions side by side: which benchmark of the suite has become slower?

    python benchmarks/compare.py A B [--only TEXT ...] [--rounds 15] [--limit 1.05] [--list]

A and B are commits, or folders that hold a checkout (`.` is the working tree). Each runs in a
process of its own with its own kernel cache. The suite is the one beside this file, for both. In
each round both versions run a benchmark, one right after the other and in changing order, so that
what disturbs the machine disturbs both. Printed are the median over the rounds of

    ratio = seconds of B / seconds of A

and an interval that holds the true median with a probability of at least 95 %, whatever the
distribution of the noise is. A benchmark whose whole interval lies above `--limit` is slower, and
the exit status is 1. Where the interval has the limit inside, three times as many rounds decide.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# One measurement takes at least this long, by repeated calls.
SECONDS = 0.05
FEWEST_ROUNDS = 6


class VersionError(Exception):
    """A version that cannot be had, or a process of one that ended."""


class NotRunError(Exception):
    """A benchmark that does not run in a version; says which, and why."""


@contextmanager
def sources(version: str) -> Iterator[Path]:
    """Yield the folder with the sources of `version`, a folder or a commit."""
    if (Path(version) / "fastbcd" / "__init__.py").exists():
        yield Path(version).resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        command = ["git", "-C", str(HERE.parent), "archive", "--format=tar", version]
        archive = subprocess.run(command, capture_output=True)
        if archive.returncode:
            raise VersionError(
                f"{version}: this is neither a commit nor a folder that holds fastbcd "
                f"({archive.stderr.decode().strip()})"
            )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


class Process:
    """A version in a process of its own, which runs benchmarks when asked: `compare_process.py`."""

    def __init__(self, name: str, folder: Path, cache: Path) -> None:
        self.name = name
        path = os.pathsep.join([str(folder), str(HERE)])
        environment = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(cache)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "compare_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=cache,
        )

    def ask(self, **request: Any) -> Any:
        """Send a request, and return the answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            print(json.dumps(request), file=stdin, flush=True)
            answer = json.loads(stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError) as error:
            status = self._process.wait()
            raise VersionError(f"{self.name}: its process ended with status {status}") from error
        if "error" in answer:
            raise NotRunError(f"does not run in {self.name}: {answer['error']}")
        return answer

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.communicate()


def interval(ratios: list[float]) -> tuple[float, float]:
    """Return an interval for the median that holds it with probability 0.95 or more.

    Each ratio is below the true median with probability 1/2. So the j-th smallest of n is above it
    with probability ``P(Bin(n, 1/2) < j)``, and j is the largest for which this is at most 0.025.
    """
    n, j, above = len(ratios), 0, 1 / 2 ** len(ratios)
    while above <= 0.025:
        j += 1
        above += comb(n, j) / 2**n
    if j == 0:
        raise ValueError(f"ratios: {n} are too few; {FEWEST_ROUNDS} or more have an interval")
    return sorted(ratios)[j - 1], sorted(ratios)[n - j]


@dataclass(frozen=True)
class Comparison:
    """Ratios of one benchmark, B over A, and what follows from them."""

    ratios: list[float]
    limit: float

    @property
    def verdict(self) -> str:
        """Return "slower", "faster", "undecided", or "" where B is not slower than the limit."""
        low, high = interval(self.ratios)
        if low > self.limit:
            return "slower"
        if high <= self.limit:
            return "faster" if high < 1 / self.limit else ""
        return "undecided"

    def __str__(self) -> str:
        low, high = interval(self.ratios)
        median = sorted(self.ratios)[len(self.ratios) // 2]
        return f"{median:.3f} | {low:.3f} to {high:.3f} | {len(self.ratios)} | {self.verdict}"


def compare(a: Process, b: Process, benchmark: str, rounds: int, limit: float) -> Comparison:
    """Run a benchmark in both processes in turn."""
    once = max(process.ask(open=benchmark)["seconds"] for process in (a, b))
    calls = max(1, int(SECONDS / once))
    ratios: list[float] = []

    def more(count: int) -> Comparison:
        for _ in range(count):
            order = (a, b) if len(ratios) % 2 == 0 else (b, a)
            times = {process: process.ask(calls=calls)["seconds"] for process in order}
            ratios.append(times[b] / times[a])
        return Comparison(ratios, limit)

    result = more(rounds)
    return more(2 * rounds) if result.verdict == "undecided" else result


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("a", metavar="A", help="the version to compare with")
    parser.add_argument("b", metavar="B", help="the version in question")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="names that contain one of these")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--limit", type=float, default=1.05)
    parser.add_argument(
        "--list", action="store_true", help="print the names of benchmarks, and end"
    )
    options = parser.parse_args()
    if options.rounds < FEWEST_ROUNDS:
        parser.error(f"--rounds must be {FEWEST_ROUNDS} or more, as fewer have no interval")
    if not options.limit > 1.0:
        parser.error("--limit must be greater than 1; 1.05 allows B five per cent more time")
    return options


def chosen(names: list[str], only: list[str] | None) -> list[str]:
    """Return the names that contain one of the texts."""
    found = [name for name in names if only is None or any(text in name for text in only)]
    if not found:
        raise VersionError(f"--only: no benchmark has {only} in its name; --list prints them")
    return found


def main() -> int:
    """Compare, print a table, and return the exit status."""
    options = arguments()
    with ExitStack() as stack:
        a, b = (
            stack.enter_context(
                Process(
                    name,
                    stack.enter_context(sources(name)),
                    Path(stack.enter_context(tempfile.TemporaryDirectory())),
                )
            )
            for name in (options.a, options.b)
        )
        # What only one version can import is in the table, too, as not compared.
        known = dict.fromkeys(b.ask(list=True) + a.ask(list=True))
        names = chosen(list(known), options.only)
        if options.list:
            print(*names, sep="\n")
            return 0
        print("| benchmark | B / A | interval of 95 % | rounds | |\n|---|---|---|---|---|")
        slower, refused = [], []
        for name in names:
            try:
                result = compare(a, b, name, options.rounds, options.limit)
            except NotRunError as reason:
                print(f"| {name} | | | | {reason} |", flush=True)
                refused.append(name)
                continue
            print(f"| {name} | {result} |", flush=True)
            if result.verdict == "slower":
                slower.append(name)
    print(f"\nslower in B: {len(slower)} of {len(names)}", *slower, sep="\n  ")
    if refused:
        print(f"not compared: {len(refused)}", *refused, sep="\n  ")
    return 1 if slower else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VersionError as error:
        print(f"compare.py: {error}", file=sys.stderr)
        sys.exit(2)
