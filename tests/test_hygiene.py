"""Rules of the package that no single file shows."""

import ast
import re
from pathlib import Path

import pytest

import fastbcd

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "fastbcd").glob("**/*.py"), *(ROOT / "kernels").glob("**/*.py")])
# The floors of the house, from the ground up: a package imports from its own floor's names to its
# left and from the floors below, never from those above. docs/architecture.md says what each is.
FLOORS = (
    *("kernels", "errors", "support", "files", "devices", "layers", "problem", "data", "models"),
    *("training", "solvers", "mini_batch", "checkpoints", "callbacks", "trials", "warmup"),
    *("plots", "export", "torch", "estimators", "cli"),
)


def imports_of(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                within = f"{node.module}.{alias.name}"
                # A name may be a module's: `from fastbcd import kernels`.
                yield within if within in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def module_of(path):
    path = path.relative_to(ROOT).with_suffix("")
    parts = path.parts if path.parts[0] == "fastbcd" else ("fastbcd", *path.parts)
    return ".".join(parts)


def room_of(module):
    """The package that a module lies in, or a module by itself: "solvers", "errors"."""
    return module.split(".")[1]


MODULES = {module_of(path).removesuffix(".__init__"): path for path in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_no_import_runs_upwards(path):
    own = module_of(path)
    if own == "fastbcd.__init__":
        return  # it gathers the public names
    floor = len(FLOORS) if own == "fastbcd.__main__" else FLOORS.index(room_of(own))
    for imported in imports_of(path):
        if imported.startswith("fastbcd."):
            assert FLOORS.index(room_of(imported)) <= floor, f"{own} imports {imported}"


def test_modules_import_each_other_without_a_circle():
    imports = {
        own: {name for name in imports_of(path) if name in MODULES} - {own}
        for own, path in MODULES.items()
    }
    while imports:
        free = [own for own, found in imports.items() if not found & imports.keys()]
        assert free, f"a circle within {sorted(imports)}"
        for own in free:
            del imports[own]


def test_numba_options_stay_in_one_file():
    pattern = re.compile(r"^\s*@n?jit\b|import .*\bn?jit\b", re.MULTILINE)
    users = [module_of(path) for path in SOURCES if pattern.search(path.read_text())]
    assert users == ["fastbcd.kernels.jit"]


def test_every_folder_with_code_is_packaged():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11 on
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packaged = set(config["tool"]["setuptools"]["packages"])
    assert packaged == {
        module_of(path).removesuffix(".__init__") for path in SOURCES if path.name == "__init__.py"
    }
    # The version stands in one file, from which the build reads it.
    (place,) = config["tool"]["setuptools"]["dynamic"]["version"].values()
    assert place == "fastbcd.support.version.__version__"
    assert "version" not in config["project"]


def test_every_file_that_is_no_code_is_packaged():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11 on
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packaged = {
        file
        for package, patterns in config["package-data"].items()
        for pattern in patterns
        for file in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    # A folder without code, such as Python's for compiled code, is no package.
    folders = {path.parent for path in SOURCES if path.is_relative_to(ROOT / "fastbcd")}
    files = {path for folder in folders for path in folder.iterdir() if path.is_file()}
    assert packaged == {path for path in files if path.suffix != ".py"}


def test_the_changelog_has_this_version():
    assert f"## {fastbcd.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_recipes_have_this_version_and_these_requirements():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11 on
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    recipe = (ROOT / ".ci" / "conda" / "recipe.yaml").read_text()
    assert f"version: {fastbcd.__version__}\n" in recipe
    assert f"version: {fastbcd.__version__}\n" in (ROOT / ".github" / "CITATION.cff").read_text()
    required = re.search(r"^  run:\n((?:    - .*\n)+)", recipe, re.MULTILINE)[1].split("\n")
    required = {line.removeprefix("    - ").replace(" ", "") for line in required if line}
    assert required == {f"python{project['requires-python']}", *project["dependencies"]}
