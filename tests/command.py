"""Running the command line in tests, as a user does."""

import csv
import os
import subprocess
import sys

SMALL = ["--hidden", "8", "--epochs", "3"]


def fastbcd(*arguments, cwd, status=0, env=None):
    """Run ``fastbcd ARGUMENTS`` in `cwd`; its standard output and error."""
    done = subprocess.run(
        [sys.executable, "-m", "fastbcd.cli.main", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONPATH": package_root(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def package_root():
    import fastbcd as package

    return os.path.dirname(os.path.dirname(package.__file__))


def history(folder):
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))
