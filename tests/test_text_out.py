"""Text in and out of the command line: letters in any locale, ~, negative numbers, moved data."""

import csv
import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
from command import environment

from fastbcd import InputError, Model
from fastbcd.callbacks import HistoryFile, SaveCheckpoint
from fastbcd.cli import predict as predict_command
from fastbcd.cli.main import main
from fastbcd.cli.parser import Parser
from fastbcd.data import load
from fastbcd.files.atomic import expanded

# A locale of ASCII alone, which Python would otherwise take for UTF-8.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
QUICK = ["--epochs", "2", "--hidden", "4", "--quiet"]
LABELS = ("größe", "a$b$")


def table(path, labels=LABELS, other=False):
    rows = "".join(f"{i % 9 + other * (i == 3)},{i * i % 7},{labels[i % 2]}\n" for i in range(40))
    path.write_text("a,b,kind\n" + rows, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    data = table(folder / "tä.csv")
    assert main(["train", data, "--target", "kind", "--out", str(folder / "läuft"), *QUICK]) == 0
    return folder


def start(*arguments, cwd, env):
    return subprocess.run(
        [sys.executable, "-m", "fastbcd", *map(str, arguments)],
        cwd=cwd,
        env=environment() | env,
        capture_output=True,
        timeout=300,
    )


def test_a_locale_without_umlauts_loses_no_letter(trained, tmp_path):
    pytest.importorskip("matplotlib")
    expected = tmp_path / "expected.csv"
    run = ["predict", str(trained / "läuft"), str(trained / "tä.csv"), "--proba"]
    assert main([*run, "--out", str(expected)]) == 0
    assert "probability of größe" in expected.read_text(encoding="utf-8")
    done = start(*run, cwd=trained, env=ASCII)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == expected.read_bytes()
    # The run's own test set, whose path config.json has in letters that this locale lacks.
    done = start("plot", "läuft", "--confusion", cwd=trained, env=ASCII)
    assert (done.returncode, done.stderr) == (0, b"")
    done = start("plot", "läuft", "--out", tmp_path / "plot.svg", cwd=trained, env=ASCII)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "<svg" in (tmp_path / "plot.svg").read_text(encoding="utf-8")


def test_another_encoding_of_the_stream_changes_no_byte(trained, monkeypatch):
    run = ["predict", str(trained / "läuft"), str(trained / "tä.csv"), "--proba"]
    written = []
    for encoding in ("utf-8", "latin-1", "ascii", "utf-16"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr("sys.stdout", stream)
        assert main(run) == 0
        stream.flush()
        written.append(stream.buffer.getvalue())
    monkeypatch.undo()
    assert len(set(written)) == 1
    rows = list(csv.DictReader(io.StringIO(written[0].decode())))
    assert {row["prediction"] for row in rows} <= set(LABELS)
    text = io.StringIO()  # as a notebook's, without bytes
    monkeypatch.setattr("sys.stdout", text)
    assert main(run) == 0
    assert text.getvalue() == written[0].decode()


def test_every_label_is_a_field_that_reads_back():
    labels = ["a\rb", "c\nd", 'e"f', "g,h", "", " x ", "ä", 3, 0.5, True]
    content = predict_command._table({"prediction": labels})
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert rows[0] == ["sample", "prediction"]
    assert [row[1] for row in rows[1:]] == [str(label) for label in labels]
    with pytest.raises(InputError, match="no character of UTF-8"):
        predict_command._table({"prediction": ["\udc80"]})


def test_files_have_their_encoding_whatever_the_locale(tmp_path):
    # Python warns of a file that is opened with the locale's encoding.
    code = (
        "import warnings\n"
        "warnings.filterwarnings('error', category=EncodingWarning, module='fastbcd')\n"
        "from fastbcd.cli.main import main\n"
        f"data = {table(tmp_path / 't.csv')!r}\n"
        "run = ['train', data, '--target', 'kind', '--epochs', '2', '--hidden', '4', '--quiet']\n"
        "assert main([*run, '--out', 'r']) == 0\n"
        "assert main(['predict', 'r', '--out', 'p.csv']) == 0\n"
        "assert main(['plot', 'r']) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", code],
        cwd=tmp_path,
        env={**environment(), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p.csv").exists()


def test_pictures_show_names_letter_by_letter():
    pytest.importorskip("matplotlib")
    from fastbcd.plots import literal, new_figure, plot_confusion, plot_runs

    assert literal("\udcc3\udca4") == "ä"
    assert literal("a$b$") == r"a\$b\$"
    assert literal("_x") == " _x"
    assert literal("\ud800\0") == "?\ufffd"
    names = np.array(["$a$", r"$\nothing$", "_x"])
    figure = new_figure()
    ax = plot_confusion(names, names, ax=figure.add_subplot())
    history = [{"iteration": k, "objective": 1.0 / (k + 1)} for k in range(3)]
    both = new_figure()
    plot_runs({"_first": history, "$\\x$": history, "\udcc3\udca4": history}, both)
    for each in (figure, both):
        each.savefig(io.BytesIO(), format="svg")
        each.savefig(io.BytesIO())
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [r"\$\nothing\$", r"\$a\$", " _x"]
    assert len(both.legends[0].get_texts()) == 3


def test_the_users_folder_is_meant_by_a_tilde(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(trained)
    shutil.copy(trained / "tä.csv", tmp_path / "t.csv")
    run = ["train", "~/t.csv", "--target", "kind", *QUICK]
    assert main([*run, "--out=~/run", "--memory=1GiB", "--memory-folder=~"]) in (0, 2)
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    assert main([*run, "--out=~/run"]) == 0
    assert main(["predict", "~/run", "~/t.csv", "--out=~/p.csv"]) == 0
    assert main(["plot", "~/run", "--out=~/plot.svg"]) == 0
    assert {"run", "p.csv", "plot.svg"} <= {path.name for path in tmp_path.iterdir()}
    assert not (trained / "~").exists()
    model = Model.load("~/run/model.safetensors")
    model.save("~/again")
    assert (tmp_path / "again").exists()
    assert load("~/t.csv", target="kind").name == "t"
    assert HistoryFile("~/h.csv").path == tmp_path / "h.csv"
    assert SaveCheckpoint("~/c.safetensors").path == tmp_path / "c.safetensors"
    assert expanded("~nobody-of-this-name/x") == "~nobody-of-this-name/x"
    assert expanded("./~") == "./~"


def test_the_package_is_a_command(tmp_path):
    done = start("--version", cwd=tmp_path, env={})
    assert done.stdout.startswith(b"fastbcd ")
    assert start("prdict", cwd=tmp_path, env={}).returncode == 2


@pytest.mark.parametrize(
    "text", ["-1", "-1e-3", "-1E+3", "-.5", "-0.5", "-1_0", "-inf", "-Infinity"]
)
def test_a_number_below_0_is_a_value(text):
    parser = Parser()
    commands = parser.add_subparsers()
    command = commands.add_parser("train")
    command.add_argument("data", nargs="?")
    command.add_argument("--bias", type=float)
    command.add_argument("--quiet", action="store_true")
    options = parser.parse_args(["train", "x", "--bias", text, "--quiet"])
    assert (options.bias, options.data, options.quiet) == (float(text), "x", True)
    assert parser.parse_args(["train", f"--bias={text}"]).bias == float(text)
    assert parser.parse_args(["train", "--quiet", "--", text]).data == text


NUMERIC = [
    *("--gamma", "--rho", "--alpha", "--alpha-weights", "--bias", "--step-size", "--momentum"),
    *("--damping", "--weight-decay", "--average", "--test-fraction", "--epochs", "--seed"),
    *("--inner-steps", "--rank", "--threads", "--tile-rows", "--certify", "--evaluate-every"),
    *("--checkpoint-every", "--batch-size", "--hidden", "--memory", "--init", "--weight-penalty"),
]


@pytest.mark.parametrize("option", NUMERIC)
@pytest.mark.parametrize("text", ["-1e30", "-1,2"])
def test_every_option_takes_a_number_below_0_for_its_value(tmp_path, capsys, option, text):
    arguments = ["train", "--out", str(tmp_path / "run"), option, text]
    if option in (
        "--step-size",
        "--momentum",
        "--damping",
        "--weight-decay",
        "--average",
        "--rank",
    ):
        arguments += ["--batch-size", "10"]
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    err = capsys.readouterr().err
    assert status == 2
    assert "expected one argument" not in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_number_below_0_trains_as_with_an_equals_sign(tmp_path):
    data = table(tmp_path / "t.csv")
    run = ["train", data, "--target", "kind", *QUICK]
    assert main([*run, "--bias", "-1e-3", "--out", str(tmp_path / "a")]) == 0
    assert main([*run, "--bias=-1e-3", "--out", str(tmp_path / "b")]) == 0
    first, second = (tmp_path / name / "model.safetensors" for name in "ab")
    assert first.read_bytes() == second.read_bytes()


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run that was stopped after three of six iterations, and what it would have become."""
    data = table(tmp_path / "t.csv")
    run = ["train", data, "--target", "kind", "--hidden", "4", "--quiet", "--epochs", "6"]
    assert main([*run, "--out", str(tmp_path / "whole")]) == 0
    save = SaveCheckpoint.on_iteration

    def stop(self, solver, state, record):
        save(self, solver, state, record)
        if state.iteration == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SaveCheckpoint, "on_iteration", stop)
        assert main([*run, "--checkpoint-every", "1", "--out", str(tmp_path / "run")]) == 130
    return tmp_path


def complaint(capsys, *arguments):
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err


def test_a_run_goes_on_with_data_that_moved(stopped, capsys):
    (stopped / "new").mkdir()
    moved = stopped / "new" / "moved.csv"
    (stopped / "t.csv").rename(moved)
    run = stopped / "run"
    assert f"if it moved, name its new place: --resume {run} DATA" in complaint(
        capsys, "train", "--resume", run
    )
    assert main(["train", "--resume", str(run), str(moved)]) == 0
    model = "model.safetensors"
    assert (run / model).read_bytes() == (stopped / "whole" / model).read_bytes()
    assert main(["predict", str(run)]) == 0  # config.json has the new place
    assert "moved: accuracy" in capsys.readouterr().out
    moved.unlink()
    err = complaint(capsys, "predict", run)
    assert "moved.csv, the data of this run, does not exist; if it moved, name its new place" in err


def test_other_data_do_not_pass_for_data_that_moved(stopped, capsys):
    before = (stopped / "run" / "config.json").read_bytes()
    other = table(stopped / "other.csv", other=True)
    err = complaint(capsys, "train", "--resume", stopped / "run", other)
    assert f"DATA: {other} is not the data that the run was started with, {stopped}/t.csv" in err
    assert "X or Y are not the same data" in err
    renamed = stopped / "renamed.csv"
    renamed.write_text(
        (stopped / "t.csv").read_text(encoding="utf-8").replace("a,b,", "a,c,"), encoding="utf-8"
    )
    assert "renamed has no column 'b'" in complaint(
        capsys, "train", "--resume", stopped / "run", renamed
    )
    assert "does not exist" in complaint(capsys, "train", "--resume", stopped / "run", "nowhere")
    assert (stopped / "run" / "config.json").read_bytes() == before
    assert main(["train", "--resume", str(stopped / "run")]) == 0
