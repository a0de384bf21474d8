"""Each line of the README, pasted into a fresh clone without an environment: seconds, or why not.

    python benchmarks/first_use.py [PYTHON ...] [--rows TEXT ...]

PYTHON is an interpreter, by default the one that runs this. For each there is a clone of HEAD, and
no compiled kernel. The first line makes the environment. All others run one after the other, as a
newcomer would paste them, with the environment activated. Tests of the package are left out, as
they take minutes. What the README calls FOLDER, table.csv and new.csv is made of scikit-learn's
digits, enlarged to images of 28 x 28. A line with ``--checkpoint-every`` is interrupted by Ctrl-C,
so that the line after it has something to go on with. Each interpreter takes five minutes of a
processor.

It prints a table of seconds, with the seconds of processors in brackets, and below it what was said
last where a line failed. The exit status is 1 if a line failed that does not need a GPU.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

from documents import blocks  # noqa: E402

# Seconds until a run with checkpoints is interrupted, and until any other line has failed.
UNTIL_CTRL_C, LONGEST = 15.0, 900.0


def lines() -> list[tuple[str, str]]:
    """Lines of the README without comments, and what is pasted; its Python is one script."""
    found = blocks(ROOT / "README.md")
    commands = [
        (re.sub(r"\s+#.*", "", command), command)
        for block in found
        if block.language == "bash"
        for command in block.commands()
        if "pytest" not in command
    ]
    return [*commands, ("the two blocks of Python", "python page.py")]


def prepare(folder: Path) -> None:
    """Write the files that the README names, and its blocks of Python."""
    X, y = load_digits(return_X_y=True)
    images = np.kron(X.reshape(-1, 8, 8) * 15, np.ones((1, 3, 3)))
    images = np.pad(images, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    (folder / "FOLDER").mkdir()
    for part, rows in (("train", slice(1500)), ("test", slice(1500, None))):
        np.save(folder / "FOLDER" / f"X_{part}.npy", images[rows])
        np.save(folder / "FOLDER" / f"y_{part}.npy", y[rows])
    names = [f"pixel {k}" for k in range(64)]
    table, header = np.column_stack([X, y]), ",".join([*names, "COLUMN"])
    np.savetxt(folder / "table.csv", table[:1500], "%d", ",", header=header, comments="")
    new = table[1500:, :64]
    np.savetxt(folder / "new.csv", new, "%d", ",", header=",".join(names), comments="")
    python = [block.text for block in blocks(ROOT / "README.md") if block.language == "python"]
    (folder / "page.py").write_text("\n".join(python), encoding="utf-8")


def processor_seconds() -> float:
    """Seconds that processors have spent on the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def paste(command: str, folder: Path, environment: dict[str, str]) -> tuple[str, int, str]:
    """Run a line in bash: seconds, exit status, and what it said."""
    activate = "source .venv/bin/activate; " if (folder / ".venv").exists() else ""
    began, busy = time.perf_counter(), processor_seconds()
    process = subprocess.Popen(
        ["bash", "-c", activate + command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell lets what it starts in the background ignore Ctrl-C; a newcomer's line does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    interrupted = "--checkpoint-every" in command
    try:
        said, _ = process.communicate(timeout=UNTIL_CTRL_C if interrupted else LONGEST)
    except subprocess.TimeoutExpired:
        # Ctrl-C in a terminal reaches all processes of the line.
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate()
    status = process.returncode
    seconds = f"{time.perf_counter() - began:.0f} ({processor_seconds() - busy:.0f})"
    return seconds, 0 if interrupted and status == 130 else status, said


def use(python: str, rows: list[str] | None) -> tuple[str, dict[str, tuple[str, int, str]]]:
    """Version of an interpreter, and what each line of the README does with it."""
    ask = "import platform, sys; print(platform.python_version()); print(sys.executable)"
    told = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    version, executable = told.stdout.split("\n")[:2]
    with tempfile.TemporaryDirectory() as name:
        clone, cache, bin_folder = (Path(name) / part for part in ("clone", "cache", "bin"))
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        cache.mkdir()
        bin_folder.mkdir()
        # The README says python3.
        wrapper = bin_folder / "python3"
        wrapper.write_text(f'#!/bin/sh\nexec "{executable}" "$@"\n')
        wrapper.chmod(0o755)
        environment = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
        environment["PATH"] = f"{bin_folder}{os.pathsep}{environment['PATH']}"
        environment["NUMBA_CACHE_DIR"] = str(cache)
        prepare(clone)
        results = {}
        for label, command in lines():
            if rows is None or not results or any(text in label for text in rows):
                print(f"{version}: {label}", file=sys.stderr)
                results[label] = paste(command, clone, environment)
    return version, results


def main() -> int:
    """Paste all lines with each interpreter, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pythons", nargs="*", default=[sys.executable], metavar="PYTHON")
    parser.add_argument(
        "--rows", nargs="+", metavar="TEXT", help="the first line, and those that have one of these"
    )
    options = parser.parse_args()
    used = dict(use(python, options.rows) for python in options.pythons)
    print("|", " | ".join(["line", *(f"Python {version}" for version in used)]), "|")
    print("|---" * (len(used) + 1) + "|")
    failed: list[str] = []
    for label in next(iter(used.values())):
        cells = []
        for version, results in used.items():
            seconds, status, said = results[label]
            cells.append(seconds if status == 0 else f"status {status}")
            if status and ("cuda" not in label or shutil.which("nvidia-smi")):
                last = said.strip().splitlines()[-1:] or ["nothing"]
                failed.append(f"{version}: {label}\n    said: {last[0]}")
        print(f"| `{label}` |", " | ".join(cells), "|")
    print(*["", *failed], sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
