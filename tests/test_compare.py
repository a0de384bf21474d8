"""`benchmarks/compare.py` finds a version that is slower, and says nothing against an equal one."""

import shutil
import subprocess
import sys
from math import comb
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from compare import Comparison, interval  # noqa: E402

SLOWER = """
import time as _time
_ridge_factor = ridge_factor
def ridge_factor(*arguments):
    start = _time.perf_counter()
    result = _ridge_factor(*arguments)
    end = start + 3 * (_time.perf_counter() - start)
    while _time.perf_counter() < end:
        pass
    return result
"""


def compare(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "benchmarks" / "compare.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("n", [6, 15, 45])
def test_the_interval_misses_the_median_with_at_most_five_per_cent(n):
    low, high = interval([float(k) for k in range(n)])
    below = int(low)  # so many ratios are smaller: the interval misses if no more lie below
    missed = 2 * sum(comb(n, k) for k in range(below + 1)) / 2**n
    assert high == n - 1 - low
    assert missed <= 0.05 < missed + 2 * comb(n, below + 1) / 2**n
    with pytest.raises(ValueError, match="5 are too few"):
        interval([1.0] * 5)


def test_a_verdict_follows_from_the_interval():
    def verdict(*ends):
        return Comparison([ends[0]] * 4 + [sum(ends) / 2] * 7 + [ends[1]] * 4, 1.05).verdict

    assert verdict(1.06, 1.2) == verdict(1.06, 9.0) == "slower"
    assert verdict(0.98, 1.04) == verdict(0.5, 1.04) == ""
    assert verdict(0.8, 0.9) == "faster"
    assert Comparison([1.0] * 8 + [1.1] * 7, 1.05).verdict == "undecided"


@pytest.mark.slow
def test_a_deliberate_slow_down_is_found_and_nothing_else(tmp_path):
    for folder in ("fastbcd", "kernels"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=ignored)
    with (tmp_path / "kernels" / "__init__.py").open("a") as file:
        file.write(SLOWER)
    # Where others compute beside it, a process may be slower by a quarter for its whole life.
    run = compare(".", tmp_path, "--only", "Ridge", "--limit", "2")  # both of them
    assert run.returncode == 1, run.stdout + run.stderr
    assert run.stdout.endswith("slower in B: 1 of 2\n  solves.Ridge.time_factor(600)\n")


def test_what_is_wrong_is_said_in_a_sentence():
    for arguments, text in (
        (["nowhere", "."], "nowhere: this is neither a commit nor a folder that holds fastbcd"),
        ([".", ".", "--rounds", "3"], "--rounds must be 6 or more, as fewer have no interval"),
        ([".", ".", "--limit", "1"], "--limit must be greater than 1"),
    ):
        run = compare(*arguments)
        assert run.returncode == 2
        assert text in run.stderr
