"""Running the command line in tests, as a user does."""

import contextlib
import csv
import io
import os
import subprocess
import sys

from fastbcd.cli.main import main

SMALL = ["--hidden", "8", "--epochs", "3"]
# As from a terminal, also where the tests run in the background of a script, with Ctrl-C ignored.
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from fastbcd.cli.main import main
sys.exit(main())
"""


def fastbcd(*arguments, cwd, status=0):
    """Run ``fastbcd ARGUMENTS`` in `cwd`, in this process; its standard output and error.

    A process of its own would take seconds to load what this one has loaded.
    """
    out, err, before = io.StringIO(), io.StringIO(), os.getcwd()
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            returned = main(list(map(str, arguments)))
    except SystemExit as exit_:
        returned = exit_.code
    finally:
        os.chdir(before)
    assert returned == status, err.getvalue()
    return out.getvalue(), err.getvalue()


def fastbcd_process(*arguments, cwd, status=0, env=None):
    """Run ``fastbcd ARGUMENTS`` in `cwd`, as a user does; its standard output and error."""
    done = subprocess.run(
        [sys.executable, "-m", "fastbcd.cli.main", *map(str, arguments)],
        cwd=cwd,
        env=environment() | (env or {}),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def start(*arguments, cwd, **more):
    """The process of ``fastbcd ARGUMENTS``."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.DEVNULL,
        text=True,
        **more,
    )


def environment():
    return {**os.environ, "PYTHONWARNINGS": "error", "PYTHONPATH": package_root()}


def package_root():
    import fastbcd as package

    return os.path.dirname(os.path.dirname(package.__file__))


def history(folder):
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))
