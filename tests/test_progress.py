"""Progress is a bar in a terminal, and lines of a log or of standard error elsewhere."""

import fcntl
import logging
import os
import pty
import struct
import termios

import numpy as np
from command import fastbcd, start

from fastbcd import Problem, ThreeSplitting
from fastbcd.callbacks import Objective, Progress


def test_in_a_terminal_progress_is_a_bar_and_in_a_file_it_is_lines(tmp_path):
    arguments = ["train", "--hidden", "8", "--epochs", "3"]
    _, err = fastbcd(*arguments, cwd=tmp_path)
    assert not {"\r", "\x1b"} & set(err)
    lines = err.splitlines()
    assert lines[0].startswith("iteration 1 of 3, ")
    assert lines[-1].startswith("iteration 3 of 3, ")
    assert "objective" in lines[-1]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
    process = start(*arguments, cwd=tmp_path, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how a terminal ends
            break
        if not part:
            break
        shown += part
    assert process.wait() == 0
    for word in (b"objective=", b"train=", b"test=", b"3/3", b"\r"):
        assert word in shown


def test_progress_goes_to_the_log_where_there_is_one(caplog, capsys):
    rng = np.random.default_rng(0)
    X, Y = rng.random((30, 3)), rng.random((30, 2))
    solver = ThreeSplitting(Problem((3, 4, 2)))
    with caplog.at_level(logging.INFO, "fastbcd"):
        solver.fit(X, Y, max_iter=3, callbacks=[Objective(), Progress()])
    assert [record.message.split(",")[0] for record in caplog.records] == [
        "iteration 1 of 3",
        "iteration 3 of 3",
    ]
    assert capsys.readouterr().err == ""
    solver.fit(X, Y, max_iter=3, callbacks=[Progress()])
    assert capsys.readouterr().err.startswith("iteration 1 of 3, ")
