"""`benchmarks/first_use.py` pastes every line of the README, and reports what fails."""

import os
import signal
import sys
from pathlib import Path

import pytest
from documents import ROOT, blocks

sys.path.append(str(ROOT / "benchmarks"))

import first_use

from fastbcd.data import load


def test_every_line_but_the_tests_is_pasted_in_its_order():
    labels, commands = zip(*first_use.lines(), strict=True)
    commands = list(commands)
    assert not any("#" in label for label in labels)
    assert commands[0].endswith(".venv/bin/fastbcd train")
    assert commands[-1] == "python page.py"
    shell = [block for block in blocks(ROOT / "README.md") if block.language == "bash"]
    written = [command for block in shell for command in block.commands()]
    assert [command for command in written if command not in commands] == [
        "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest -n auto"
    ]
    assert commands[:-1] == [command for command in written if command in commands]


def test_the_files_that_the_readme_names_are_there_and_can_be_read(tmp_path):
    first_use.prepare(tmp_path)
    images = load(tmp_path / "FOLDER")
    assert images.X_train.shape == (1500, 28 * 28)
    table = (tmp_path / "table.csv").read_text().splitlines()
    new = (tmp_path / "new.csv").read_text().splitlines()
    assert table[0] == f"{new[0]},COLUMN"
    assert (len(table), len(new)) == (1501, 298)
    compile((tmp_path / "page.py").read_text(), "page.py", "exec")


@pytest.fixture
def _in_the_background():
    """A shell lets what it starts in the background ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_in_the_background")
def test_a_line_has_its_status_and_ctrl_c_of_a_run_with_checkpoints_is_none(tmp_path, monkeypatch):
    paste = first_use.paste
    assert paste("echo out; echo err >&2; exit 3", tmp_path, dict(os.environ))[1:] == (
        3,
        "out\nerr\n",
    )
    monkeypatch.setattr(first_use, "UNTIL_CTRL_C", 0.5)
    waits = "trap 'echo stopped; exit 130' INT; sleep 9; echo done # --checkpoint-every"
    assert paste(waits, tmp_path, dict(os.environ))[1:] == (0, "stopped\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text("echo activated\n")
    assert paste("true", tmp_path, dict(os.environ))[1:] == (0, "activated\n")


def test_a_failing_line_is_in_the_table_and_below_it(monkeypatch, capsys):
    results = {
        "good": ("1 (2)", 0, ""),
        "fastbcd train --device cuda": ("1 (1)", 2, "no GPU"),
        "bad": ("3 (3)", 2, "first\nfastbcd: reason\n"),
    }
    monkeypatch.setattr(first_use, "use", lambda python, rows: (Path(python).name, results))
    monkeypatch.setattr(first_use.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["first_use.py", "/bin/a", "/bin/b"])
    assert first_use.main() == 1
    table, _, below = capsys.readouterr().out.partition("\n\n")
    assert table.splitlines() == [
        "| line | Python a | Python b |",
        "|---|---|---|",
        "| `good` | 1 (2) | 1 (2) |",
        "| `fastbcd train --device cuda` | status 2 | status 2 |",
        "| `bad` | status 2 | status 2 |",
    ]
    assert below == "a: bad\n    said: fastbcd: reason\nb: bad\n    said: fastbcd: reason\n"
    del results["bad"]
    assert first_use.main() == 0
