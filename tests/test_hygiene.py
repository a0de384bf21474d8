"""Rules of the house that a reader cannot see in one file."""

import ast
import re
from pathlib import Path

import pytest

import fastbcd

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "fastbcd").glob("**/*.py"), *(ROOT / "kernels").glob("**/*.py")])
LAYERS = {"kernels": 0, "solvers": 1, "estimators": 2, "cli": 3}


def layer_of(module):
    if module.startswith("fastbcd.kernels"):
        return LAYERS["kernels"]
    if module.startswith("fastbcd.estimators"):
        return LAYERS["estimators"]
    if module == "fastbcd.__init__":
        return LAYERS["estimators"]  # it offers them, without importing them
    command = module.startswith("fastbcd.cli") or module == "fastbcd.__main__"
    return LAYERS["cli"] if command else LAYERS["solvers"]


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def module_of(path):
    path = path.relative_to(ROOT).with_suffix("")
    parts = path.parts if path.parts[0] == "fastbcd" else ("fastbcd", *path.parts)
    return ".".join(parts)


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports_run_one_way_and_numba_options_stay_in_one_file(path):
    own = module_of(path)
    for imported in imports_of(path):
        if imported.startswith("fastbcd."):
            assert layer_of(imported) <= layer_of(own), f"{own} imports {imported}"
    if own != "fastbcd.kernels.jit":
        assert not re.search(r"^\s*@n?jit\b|import .*\bn?jit\b", path.read_text(), re.MULTILINE)


def test_every_folder_with_code_is_packaged():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11 on
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packaged = set(config["tool"]["setuptools"]["packages"])
    assert packaged == {
        module_of(path).removesuffix(".__init__") for path in SOURCES if path.name == "__init__.py"
    }
    assert config["project"]["version"] == fastbcd.__version__


def test_the_changelog_has_this_version():
    assert f"## {fastbcd.__version__}" in (ROOT / "CHANGELOG.md").read_text()
