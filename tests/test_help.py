"""Help, colours and completion of the command line."""

import io
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from fastbcd.cli.help import EXAMPLES
from fastbcd.cli.main import build_parser, main


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed(arguments, stream, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(SystemExit):
        main(arguments)
    return stream.getvalue()


@pytest.mark.parametrize("command", [*EXAMPLES])
def test_every_example_of_the_help_is_a_command_that_works(command, monkeypatch):
    arguments = [] if command == "fastbcd" else [command]
    text = printed([*arguments, "--help"], io.StringIO(), monkeypatch)
    assert re.search(r"^examples:$", text, re.MULTILINE)
    for example in EXAMPLES[command]:
        assert example in text
        words = shlex.split(example, comments=True)
        words = words[words.index("fastbcd") + 1 :]
        if "--help" not in words:
            build_parser().parse_args(words)


def test_every_option_of_train_stands_under_a_heading(monkeypatch):
    text = printed(["train", "--help"], io.StringIO(), monkeypatch)
    headings = re.findall(r"^(\w.*):$", text, re.MULTILINE)
    assert headings == [
        *("positional arguments", "options", "data", "tables", "network and objective"),
        *("algorithm", "mini-batches", "full batches (--batch-size full)", "early stopping"),
        *("where it runs", "the run and its folder", "examples"),
    ]
    rest = text[text.index("\noptions:") : text.index("\ndata:")]
    assert re.findall(r"^  (-.*?)  ", rest, re.MULTILINE) == ["-h, --help"]


def test_colours_appear_in_terminals_only_and_not_against_the_users_will(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for arguments in (["--help"], ["train", "--no-such-option"]):
        plain = printed(arguments, io.StringIO(), monkeypatch)
        coloured = printed(arguments, Terminal(), monkeypatch)
        assert "\033" not in plain
        assert "\033[" in coloured
        assert re.sub(r"\033\[[\d;]*m", "", coloured) == plain
        with monkeypatch.context() as will:
            will.setenv("NO_COLOR", "1")
            assert printed(arguments, Terminal(), monkeypatch) == plain
        with monkeypatch.context() as will:
            will.setenv("TERM", "dumb")
            assert printed(arguments, Terminal(), monkeypatch) == plain


def test_bash_completes_commands_options_names_and_folders(tmp_path, monkeypatch):
    pytest.importorskip("shtab", reason="the extra completion is not installed")
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs.csv").touch()
    script = printed(["--completion", "bash"], io.StringIO(), monkeypatch)

    def complete(*words):
        call = f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; COMPREPLY=()\n"
        call += f"_shtab_fastbcd fastbcd {shlex.join(words[:-3:-1])}; echo ${{COMPREPLY[*]}}"
        done = subprocess.run(
            ["bash", "-c", f"{script}\n{call}"], cwd=tmp_path, capture_output=True, text=True
        )
        return done.stdout.split()

    assert complete("fastbcd", "tr") == ["train"]
    assert complete("fastbcd", "train", "--alp") == ["--alpha", "--alpha-weights"]
    assert complete("fastbcd", "train", "--loss", "cr") == ["cross_entropy"]
    assert complete("fastbcd", "train", "--out", "ru") == ["runs"]
    assert sorted(complete("fastbcd", "train", "ru")) == ["runs", "runs.csv"]


def test_completion_without_its_extra_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    text = printed(["--completion", "bash"], io.StringIO(), monkeypatch)
    assert text.startswith("fastbcd: --completion needs shtab: pip install 'fastbcd[completion]'")
