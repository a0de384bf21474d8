"""README.md and docs/: every block runs, every command, option, link and picture exists.

Blocks of a page run in order, in one folder and one namespace. Commands run as they stand, except
for sizes: DATA is tiny, layers are at most 32 wide, and runs have 3 iterations. Blocks that need
PyTorch or MPI run if these are installed.
"""

import argparse
import importlib
import importlib.util
import logging
import re
import shlex
import subprocess
import sys
from functools import cache
from itertools import pairwise
from unittest import mock

import pytest
from documents import ROOT, anchors, blocks, indented_commands, links, prose
from test_data import write_csv, write_idx_folder, write_npz

import fastbcd
from fastbcd import callbacks, data, estimators, export, kernels, layers, plots
from fastbcd import torch as bridge
from fastbcd.cli.main import build_parser, main
from fastbcd.cli.run_folder import RunFolder
from fastbcd.kernels import bf16
from fastbcd.solvers import mini_batch

DOCS = sorted((ROOT / "docs").glob("*.md"))
# The blocks of kernels/README.md run in test_kernel_library.py.
LINKED = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "kernels" / "README.md", *DOCS]
RUN = [path for path in LINKED if path.parent.name != "kernels"]
WIDTH, EPOCHS = 32, 3
# What prepares or checks a checkout; and programs that are not ours.
OTHER = {"asv", "cd", "git", "mypy", "nproc", "pip", "pytest", "python3", "ruff"}
PUBLIC = (fastbcd, callbacks, data, estimators, export, kernels, layers, mini_batch, plots, bridge)
# Public, though no `__all__` has them.
ALSO = (
    "fastbcd.training.certificate.Certificate",
    "fastbcd.training.loop.run",
    "fastbcd.models.probabilities.probabilities",
    "fastbcd.checkpoints.checkpoint.Checkpoint",
    "fastbcd.checkpoints.checkpoint.read",
    "fastbcd.checkpoints.checkpoint.write",
)
OPTIONAL, SKIPPED = ("torch", "mpi4py"), object()
NUMBER = r"-?\d+\.?\d*(?:e[-+]?\d+)?"
of_each_page = pytest.mark.parametrize("path", RUN, ids=lambda path: str(path.relative_to(ROOT)))


@pytest.fixture(autouse=True)
def quiet_logger():
    """The library's logger as it was: a page may change it."""
    logger = logging.getLogger("fastbcd")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    for handler in set(logger.handlers) - set(handlers):
        logger.removeHandler(handler)
        handler.close()


def words(text):
    """Text with its numbers, spaces and line breaks made alike."""
    return re.sub(NUMBER, "#", text).split()


@of_each_page
def test_every_block_runs_and_prints_what_stands_below_it(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    prepare(tmp_path)
    names, printed = {"__name__": "page"}, None
    for block in blocks(path):
        if block.language == "python" and lacks_library(block.text):
            printed = SKIPPED
        elif block.language == "python":
            exec(block.compiled(str(path)), names)
            printed = capsys.readouterr().out
        elif block.language == "bash":
            for command in block.commands():
                execute(command, f"{path.name}: {command}")
            shown = capsys.readouterr()
            printed = shown.out + shown.err
        elif block.language == "math":
            printed = None
        else:
            where = f"{path.name}, line {block.line}"
            assert block.language == "text", f"{where}: python, bash, math, or text that they print"
            assert printed is not None, f"{where}: no block before it; indent what is no output"
            assert printed is SKIPPED or words(block.text) == words(printed), where
            printed = None
    for command in indented_commands(path):
        execute(command, f"{path.name}: {command}")


def lacks_library(code):
    """Whether `code` needs a library that only some installations have, and this one has not."""
    return any(
        re.search(rf"\b{library}\b", code) and importlib.util.find_spec(library) is None
        for library in OPTIONAL
    )


def prepare(folder):
    """Write files that pages name: FOLDER, data.npz, table.csv with COLUMN, new.csv, SCRATCH."""
    (folder / "SCRATCH").mkdir()
    write_idx_folder(folder / "FOLDER")
    write_npz(folder / "data.npz")
    write_csv(folder / "table.csv", "a,b,COLUMN\n" + "1,2.5,red\n-3,4e-1,blue\n" * 5)
    write_csv(folder / "new.csv", "a,b\n1,2\n-2,1\n")


def execute(command, where):
    """Run one line of a page, or what can be run of it."""
    while re.match(r"[A-Z_]+=", command):  # variables for this command
        command = command.partition(" ")[2]
    program, *arguments = shlex.split(command, comments=True)
    if program == "mpiexec" and arguments[2] == "fastbcd":  # what each of its processes is told
        program, *arguments = arguments[2:]
    program = program.removeprefix(".venv/bin/")
    if program == "fastbcd" and not lacks_library(" ".join(arguments)):
        # Only some machines have a GPU or products in bfloat16; the images of FOLDER are too small
        # for layers.
        elsewhere = "cuda" in arguments or ("bf16" in arguments and not bf16.AVAILABLE)
        if elsewhere or {"--layers", "FOLDER"} <= set(arguments):
            build_parser().parse_args(arguments)
            return
        arguments = small(arguments)
        # A run with checkpoints is there to be interrupted: it does not get to its end.
        stopped = "--checkpoint-every" in arguments and "--resume" not in arguments
        with mock.patch.object(RunFolder, "finish") if stopped else mock.MagicMock():
            if "--help" in arguments:
                with pytest.raises(SystemExit, match="0"):
                    main(arguments)
            elif "--memory" in arguments:  # the memory of these tests is no part of the run's
                subprocess.run([sys.executable, "-m", "fastbcd.cli.main", *arguments], check=True)
            else:
                assert main(arguments) == 0, where
    elif program == "python" and arguments[0] != "-m":
        script = arguments[0]
        assert (ROOT / script).exists(), where
        missing = options_in(arguments) - options_in(help_of(script).split())
        assert not missing, f"{where}: no option {missing}"
    else:
        assert program in {*OTHER, "fastbcd", "python"}, f"{where}: an unknown program"
        if program == "pip":
            check_extras(arguments, where)


def small(arguments):
    """The same command with a narrow network and few iterations."""
    if arguments[0] != "train" or "--resume" in arguments:
        return arguments
    blanks = {"128,128,...": "128,128", "K": "1"}
    arguments = [blanks.get(argument, argument) for argument in arguments]
    limits = {"--hidden": WIDTH, "--epochs": EPOCHS, "--checkpoint-every": EPOCHS - 1}
    for i, (option, value) in enumerate(list(pairwise(arguments))):
        if option in limits:
            sizes = [str(min(int(size), limits[option])) for size in value.split(",")]
            arguments[i + 1] = ",".join(sizes)
    if "--hidden" not in arguments and "--layers" not in arguments:
        arguments += ["--hidden", f"{WIDTH},{WIDTH}"]
    if "--epochs" not in arguments:
        arguments += ["--epochs", str(EPOCHS)]
    return arguments


def options_in(words):
    return {word for text in words for word in re.findall(r"^\[?(--[a-z][\w-]*)", text)}


@cache
def help_of(script):
    done = subprocess.run(
        [sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def check_extras(arguments, where):
    tomllib = pytest.importorskip("tomllib")  # Python 3.11 on
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for name in re.findall(r"\[([\w,-]+)\]", " ".join(arguments)):
        missing = set(name.split(",")) - set(config["project"]["optional-dependencies"])
        assert not missing, f"{where}: no extra {missing}"


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_and_picture_of_a_page_exists(path):
    for link in links(path):
        if re.match(r"https?://", link):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{path.name}: {link}"
        if anchor:
            assert anchor in anchors(file), f"{path.name}: {link}"


@of_each_page
def test_every_option_that_a_page_names_exists(path):
    named = set(
        re.findall(r"(?<![\w-])--[a-z][a-z-]*", " ".join(re.findall(r"`.+?`", prose(path))))
    )
    known = {"--help", "--version", "--completion"}
    scripts = (ROOT / "benchmarks").glob("**/*.py")
    # asv keeps environments in .asv, with the sources of other packages.
    for script in (script for script in scripts if ".asv" not in script.parts):
        known |= set(re.findall(r'"(--[a-z-]+)"', script.read_text()))
    commands = next(
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for command in commands.choices.values():
        known |= set(command._option_string_actions)
    assert named <= known


def test_the_table_of_contents_leads_to_every_page():
    listed = links(ROOT / "docs" / "README.md")
    of_the_site = (ROOT / "docs" / "index.rst").read_text().split()
    for path in DOCS:
        if path.name != "README.md":
            assert path.name in listed, path.name
            assert path.stem in of_the_site, f"docs/index.rst lacks {path.stem}"


def test_the_reference_has_every_public_name_and_no_other():
    listed = {}
    for page in (ROOT / "docs" / "reference").glob("*.rst"):
        for module, names in re.findall(
            r"^\.\. public:: (\S+)\n\n((?:   \w+\n)+)", page.read_text(), re.M
        ):
            owner = importlib.import_module(module)
            listed |= {f"{module}.{name}": getattr(owner, name) for name in names.split()}
    shown = {id(thing) for thing in listed.values()}
    for module in PUBLIC:
        for name in set(module.__all__) - {"__version__"}:
            assert id(getattr(module, name)) in shown, f"{module.__name__}.{name}"
    others = {id(getattr(module, name)) for module in PUBLIC for name in module.__all__}
    assert {name for name, thing in listed.items() if id(thing) not in others} == set(ALSO)
