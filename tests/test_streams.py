"""Standard streams that are absent, closed, broken or lack letters do not damage results."""

import contextlib
import errno
import io
import json
import logging
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from command import environment

from fastbcd import BCDClassifier, Problem, ThreeSplitting
from fastbcd.callbacks import Objective, Progress
from fastbcd.cli.main import main
from fastbcd.kernels.streams import is_terminal, logger, warn, write_line

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
Y = np.eye(2)[(X[:, 0] > 0).astype(int)]


class Broken:
    """A pipe that nobody reads, with or without a terminal's bar on top."""

    encoding = "utf-8"

    def __init__(self, terminal):
        self.terminal = terminal

    def isatty(self):
        return self.terminal

    def write(self, text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    flush = write

    def fileno(self):
        raise io.UnsupportedOperation


class OnlyWrites:
    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


def ascii_only():
    return io.TextIOWrapper(io.BytesIO(), "ascii", errors="strict", write_through=True)


STREAMS = {
    "none": lambda: None,
    "closed": closed,
    "ASCII": ascii_only,
    "broken": lambda: Broken(False),
    "broken terminal": lambda: Broken(True),
    "no isatty": OnlyWrites,
}


@contextlib.contextmanager
def standard(**streams):
    """Standard streams replaced, and the last resort of `logging` with them."""
    before = {name: getattr(sys, name) for name in streams}
    try:
        for name, stream in streams.items():
            setattr(sys, name, stream)
        yield
    finally:
        for name, stream in before.items():
            setattr(sys, name, stream)


def weights(callbacks):
    result = ThreeSplitting(Problem((3, 4, 2))).fit(X, Y, max_iter=3, callbacks=callbacks)
    return [record.get("objective") for record in result.history], result.state.weights


@pytest.mark.parametrize("name", STREAMS)
def test_a_run_with_progress_gives_what_it_gives_without(name):
    expected_objective, expected = weights([Objective()])
    with standard(stderr=STREAMS[name](), stdout=STREAMS[name]()):
        objective, found = weights([Objective(), Progress()])
    assert objective == expected_objective
    for W, W_expected in zip(found, expected, strict=True):
        np.testing.assert_array_equal(W, W_expected)


@pytest.mark.parametrize("name", STREAMS)
def test_a_verbose_estimator_gives_what_a_silent_one_gives(name):
    labels = Y.argmax(axis=1)
    silent = BCDClassifier((4,), max_iter=2, random_state=0).fit(X, labels)
    with standard(stderr=STREAMS[name](), stdin=None):
        verbose = BCDClassifier((4,), max_iter=2, verbose=True, random_state=0).fit(X, labels)
    np.testing.assert_array_equal(verbose.predict_proba(X), silent.predict_proba(X))


def test_lines_go_out_where_they_can():
    poor, simple = ascii_only(), OnlyWrites()
    with standard(stderr=poor):
        write_line("Zürich ✓")
    assert poor.buffer.getvalue() == b"Z\\xfcrich \\u2713\n"
    with standard(stderr=simple):
        weights([Progress()])
    assert simple.text.startswith("iteration 1 of 3, ")
    aside = io.StringIO()
    with standard(stderr=None, stdout=aside):  # `print` would take standard output
        write_line("a message")
        weights([Progress()])
    assert aside.getvalue() == ""
    assert not any(is_terminal(make()) for name, make in STREAMS.items() if "terminal" not in name)


@pytest.mark.parametrize("name", STREAMS)
def test_warnings_and_log_lines_raise_nothing_but_what_the_caller_asked_for(name):
    handler = logging.StreamHandler(STREAMS[name]())
    logger.logger.addHandler(handler)
    try:
        with standard(stderr=STREAMS[name]()), warnings.catch_warnings():
            logger.warning("there are %d", 3)
            warnings.simplefilter("always")
            warnings.showwarning = lambda *arguments: sys.stderr.write("a warning")
            warn("a warning", RuntimeWarning)
            warnings.simplefilter("error")
            with pytest.raises(RuntimeWarning, match="a warning"):
                warn("a warning", RuntimeWarning)
    finally:
        logger.logger.removeHandler(handler)


def test_warnings_and_log_lines_name_the_line_that_they_come_from(caplog):
    with pytest.warns(RuntimeWarning) as caught:
        warn("a warning", RuntimeWarning)
    assert caught[0].filename == __file__
    logger.warning("a line")
    assert caplog.records[0].filename == os.path.basename(__file__)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, made without any stream."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with standard(stdin=None, stdout=None, stderr=None):
        status = main(["train", "--hidden", "4", "--epochs", "2", "--out", str(folder)])
    assert status == 0
    return folder


def test_training_without_streams_writes_the_whole_run(run):
    assert json.loads((run / "summary.json").read_text())["iterations"] == 2
    assert len((run / "history.csv").read_text().splitlines()) == 3
    assert (run / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["none", "closed"])
def test_predictions_without_standard_output_go_to_a_file_or_are_an_error(run, tmp_path, name):
    errors = io.StringIO()
    with standard(stdout=STREAMS[name](), stderr=errors):
        assert main(["predict", str(run), "--proba"]) == 2
    assert "no standard output" in errors.getvalue()
    assert "--out" in errors.getvalue()
    out = tmp_path / "predictions.csv"
    with standard(stdout=STREAMS[name](), stderr=STREAMS[name]()):
        assert main(["predict", str(run), "--proba", "--out", str(out)]) == 0
        assert main(["predict", "no such run"]) == 2
        assert main(["info"]) == 0
        with pytest.raises(SystemExit) as leaving:
            main(["train", "--no-such-option"])
        assert leaving.value.code == 2
        with pytest.raises(SystemExit) as leaving:
            main(["--help"])
        assert leaving.value.code == 0
    assert len(out.read_text().splitlines()) > 300


def detached():
    stream = ascii_only()
    stream.detach()
    return stream


def test_commands_end_in_a_status_whatever_stands_for_standard_output(run):
    simple = OnlyWrites()
    with standard(stdout=simple, stderr=OnlyWrites()):
        assert main(["info"]) == 0
    assert "numba" in simple.text
    with standard(stdout=Broken(False), stderr=None):
        assert main(["info"]) == 1  # nobody reads it
    with standard(stdout=detached(), stderr=detached()):
        assert main(["info"]) == 0
        assert main(["predict", str(run), "--proba"]) == 2  # its result would be lost


def test_messages_never_land_in_standard_output(run):
    stdout = io.StringIO()
    with standard(stdout=stdout, stderr=None):
        assert main(["predict", "no such run"]) == 2
    assert stdout.getvalue() == ""


def test_the_callers_streams_are_as_before():
    out, err = ascii_only(), ascii_only()
    with standard(stdout=out, stderr=err):
        assert main(["info"]) == 0
        assert sys.stdout is out
        assert sys.stderr is err
    assert (out.errors, err.errors) == ("strict", "strict")
    assert b"activations" in out.buffer.getvalue()
    with standard(stdout=closed(), stderr=None):
        assert main(["info"]) == 0
        assert sys.stdout.closed
        assert sys.stderr is None


SHELL = 'exec "$0" -m fastbcd.cli.main train --hidden 4 --epochs 2 --out closed <&- >&- 2>&-'


@pytest.mark.skipif(os.name != "posix", reason="descriptors of a shell")
def test_closed_descriptors_and_a_full_disk_leave_whole_files(run, tmp_path):
    done = subprocess.run(["sh", "-c", SHELL, sys.executable], cwd=tmp_path, env=environment())
    assert done.returncode == 0
    folder = tmp_path / "closed"
    # Byte for byte: nothing took a file of ours for standard error.
    assert (folder / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "fastbcd.cli.main", "info"],
                **{"stdout": full, "stderr": subprocess.PIPE, "env": environment(), "text": True},
            )
        assert done.returncode == 2
        assert done.stderr.startswith("fastbcd info: [Errno 28] No space")
